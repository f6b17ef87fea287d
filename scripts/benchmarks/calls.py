"""What a call costs: a list of twenty instances, and a message until it is proved in a real Claude's conversation."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from actors.messages import MessageStatus
from scripts.benchmarks import batches
from scripts.benchmarks.bare_claude import BareClaude, BareClaudes
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.raw_server import tool_calls_ms
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_LISTS = 200
_MESSAGES = 30
_SIZE = 20


async def measure_list(team: Team) -> list[Figure]:
    """Twenty demo instances; the same call over MCP as a lead makes it and over the socket as the entry does."""
    async with await team.connect() as client:
        batch = await batches.start(client, [team.specialist(agent="demo")] * _SIZE)
        over_socket = [await _list_ms(client) for _ in range(_LISTS)]
        over_mcp = await asyncio.to_thread(tool_calls_ms, {**os.environ, **team.environment}, "list", {}, _LISTS)
        for instance_id in batch.ids:
            await client.terminate(requests.TerminateRequest(instance_id=instance_id))
    return [
        Figure(what="`list` of 20 instances, client to supervisor and back", aim="", samples=over_socket),
        Figure(what="`list` of 20 instances as an MCP tool call", aim="≤ 5 ms", samples=over_mcp),
    ]


async def _list_ms(client: SupervisorClient) -> float:
    begun = time.perf_counter()
    listed = await client.list(requests.ListRequest())
    took_ms = (time.perf_counter() - begun) * 1000
    if len(listed.instances) < _SIZE:
        raise RuntimeError("an instance is missing from the list")
    return took_ms


async def measure_messages(team: Team, bare: BareClaudes) -> list[Figure]:
    """An idle real Claude and a bare one in turn; each message waits for the one before to be answered."""
    async with await team.connect() as client:
        spawned = await client.spawn(team.specialist())
        alone = await bare.start(Path(spawned.working_directory).parent)
        figures = [
            await _messages(client, spawned.instance_id, alone, immediate=True),
            await _messages(client, spawned.instance_id, alone, immediate=False),
        ]
        await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
        bare.end(alone)
    return figures


async def _messages(client: SupervisorClient, instance_id: str, alone: BareClaude, *, immediate: bool) -> Figure:
    samples, floor = [], []
    for number in range(_MESSAGES):
        await client.wait(requests.WaitRequest(instance_ids=[instance_id]))
        text = f"message {number}{' at once' if immediate else ''}"
        begun = time.perf_counter()
        request = requests.SendRequest(instance_id=instance_id, message=text, immediate=immediate, wait=True)
        sent = await client.send(request)
        samples.append((time.perf_counter() - begun) * 1000)
        if sent.status is not MessageStatus.SUBMITTED:
            raise RuntimeError(f"message {number} was not proved: {sent.reason}")
        await alone.idle()
        begun = time.perf_counter()
        await alone.message(f"{text}.")
        floor.append((time.perf_counter() - begun) * 1000)
    how = "`immediate`" if immediate else "not `immediate`, after a quiet time"
    what = f"message to an idle Claude, call to proof, {how}; floor: the bare program"
    return Figure(what=what, aim="≤ 1.3", samples=samples, floor=floor)
