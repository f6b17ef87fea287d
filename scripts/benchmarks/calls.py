"""What a call costs: a list of twenty instances, and a message until it is proved in a real Claude's conversation."""

from __future__ import annotations

import asyncio
import os
import time

from actors.messages import MessageStatus
from scripts.benchmarks import batches
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


async def measure_messages(team: Team) -> list[Figure]:
    """One idle real Claude; each message waits for the one before to be answered."""
    async with await team.connect() as client:
        spawned = await client.spawn(team.specialist())
        figures = [
            await _messages(client, spawned.instance_id, immediate=True),
            await _messages(client, spawned.instance_id, immediate=False),
        ]
        await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    return figures


async def _messages(client: SupervisorClient, instance_id: str, *, immediate: bool) -> Figure:
    samples = []
    for number in range(_MESSAGES):
        await client.wait(requests.WaitRequest(instance_ids=[instance_id]))
        begun = time.perf_counter()
        request = requests.SendRequest(
            instance_id=instance_id, message=f"message {number}", immediate=immediate, wait=True
        )
        sent = await client.send(request)
        samples.append((time.perf_counter() - begun) * 1000)
        if sent.status is not MessageStatus.SUBMITTED:
            raise RuntimeError(f"message {number} was not proved: {sent.reason}")
    how = "`immediate`" if immediate else "not `immediate`, after a quiet time"
    return Figure(what=f"message to an idle Claude, call to proof, {how}", aim="≤ 300 ms", samples=samples)
