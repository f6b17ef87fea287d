"""What a lead feels: a spawn, a message and the start of the entry against a floor, and calls in large teams."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.messages import MessageStatus
from scripts.benchmarks.bare_claude import BareClaude, BareClaudes
from scripts.benchmarks.bench import Bench, start_batch, timed
from scripts.benchmarks.raw_server import RawServer, tool_calls_ms
from scripts.benchmarks.section import Figure, Part, Section, of_figures
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_WORDS = """
*floor* of spawn and message: Claude Code alone in a tmux session, started, typed into and entered with the fewest steps
that work, until its own transcript holds the text. Claude Code shows what was pasted 50 to 100 ms later, reports it by
its hook after Enter, and writes its transcript after that; a message counts as submitted when it stands there. Above
the floor a spawn makes a worktree by three gits, writes its records, and starts the actor that follows the instance.
"""
_SPAWN_PAIRS = 7
_LISTS = 200
_MESSAGES = 30
_SIZE = 20
_START_PAIRS = 7
_LARGE_TEAM = 100
_CALLS = 300
_CALL_WORDS = f"""
{_LARGE_TEAM} demo agents at rest. The call goes over the stdio of the entry and the team's socket, as a lead makes it.
`list` of all carries what there is to say of each of the {_LARGE_TEAM}.
"""
_TOOLS: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("list", {"needsAttention": True}, "≤ 3 ms"),
    ("get_performance", {}, ""),
    ("list", {}, ""),
)


async def _measure(bench: Bench) -> Section:
    figures = []
    async with bench.team() as team:
        bench.say("spawns of a real Claude, and the bare program in turn")
        with bench.scratch() as scratch, BareClaudes(bench.claude, scratch / "bare.sock", team.environment) as bare:
            figures.append(await _spawns(team, bare))
            bench.say("messages to a real Claude, and to the bare program in turn")
            figures += await _messages(team, bare)
        bench.say("starts of the entry, and of a bare server in turn")
        figures.append(await asyncio.to_thread(_entry_starts, {**os.environ, **team.environment}))
        bench.say("lists of twenty instances")
        figures += await _lists(team)
    return of_figures(figures, _WORDS)


async def _spawns(team: Team, bare: BareClaudes) -> Figure:
    """Pairs in turn: ours, then the bare program until its transcript holds its first message."""
    ours, floor = [], []
    async with await team.connect() as client:
        for run in range(_SPAWN_PAIRS + 1):
            took_ms, spawned = await timed(client.spawn(team.specialist()))
            await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
            await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
            floor_ms = await _bare_ms(bare, Path(spawned.working_directory).parent, f"task {run}")
            if run:
                ours.append(took_ms)
                floor.append(floor_ms)
    return Figure(
        what="spawn of one Claude with its first message, call to proof; floor: the bare program",
        aim="≤ 1.3",
        samples=ours,
        floor=floor,
    )


async def _bare_ms(bare: BareClaudes, directory: Path, text: str) -> float:
    begun = time.perf_counter()
    claude = await bare.start(directory)
    await claude.message(text)
    took_ms = (time.perf_counter() - begun) * 1000
    await claude.idle()
    bare.end(claude)
    return took_ms


async def _lists(team: Team) -> list[Figure]:
    """Twenty demo instances; the same call over MCP as a lead makes it and over the socket as the entry does."""
    async with await team.connect() as client:
        batch = await start_batch(client, [team.specialist(agent="demo")] * _SIZE)
        over_socket = [await _list_ms(client) for _ in range(_LISTS)]
        over_mcp = await asyncio.to_thread(tool_calls_ms, {**os.environ, **team.environment}, "list", {}, _LISTS)
        for instance_id in batch.ids:
            await client.terminate(requests.TerminateRequest(instance_id=instance_id))
    return [
        Figure(what="`list` of 20 instances, client to supervisor and back", aim="", samples=over_socket),
        Figure(what="`list` of 20 instances as an MCP tool call", aim="≤ 5 ms", samples=over_mcp),
    ]


async def _list_ms(client: SupervisorClient) -> float:
    took_ms, listed = await timed(client.list(requests.ListRequest()))
    if len(listed.instances) < _SIZE:
        raise RuntimeError("an instance is missing from the list")
    return took_ms


async def _messages(team: Team, bare: BareClaudes) -> list[Figure]:
    """An idle real Claude and a bare one in turn; each message waits for the one before to be answered."""
    async with await team.connect() as client:
        spawned = await client.spawn(team.specialist())
        alone = await bare.start(Path(spawned.working_directory).parent)
        figures = [
            await _message_times(client, spawned.instance_id, alone, immediate=True),
            await _message_times(client, spawned.instance_id, alone, immediate=False),
        ]
        await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
        bare.end(alone)
    return figures


async def _message_times(client: SupervisorClient, instance_id: str, alone: BareClaude, *, immediate: bool) -> Figure:
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
        floor.append((await timed(alone.message(f"{text}.")))[0])
    how = "`immediate`" if immediate else "not `immediate`, after a quiet time"
    what = f"message to an idle Claude, call to proof, {how}; floor: the bare program"
    return Figure(what=what, aim="≤ 1.3", samples=samples, floor=floor)


def _entry_starts(environment: Mapping[str, str]) -> Figure:
    """Pairs of starts, ours and a bare server in turn, after one of each that does not count."""
    ours, bare = [], []
    for run in range(_START_PAIRS + 1):
        our_ms = _start_ms("mcp_entry", environment)
        bare_ms = _start_ms("scripts.benchmarks.bare_server", environment)
        if run:
            ours.append(our_ms)
            bare.append(bare_ms)
    return Figure(
        what="entry: start to `initialize` answered; floor: a bare SDK server with one tool",
        aim="≤ 1.3",
        samples=ours,
        floor=bare,
    )


def _start_ms(module: str, environment: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    with RawServer(module, environment) as server:
        server.initialize()
        return (time.perf_counter() - begun) * 1000


PART = Part(name="lead", title="What a lead feels", measure=_measure)


async def _measure_calls(bench: Bench) -> Section:
    bench.say(f"making {_LARGE_TEAM} demo agents")
    async with bench.team(PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS="20") as team:
        async with await team.connect() as client:
            batch = await start_batch(client, [team.specialist()] * _LARGE_TEAM)
            await client.wait(requests.WaitRequest(instance_ids=batch.ids))
        figures = []
        for tool, arguments, aim in _TOOLS:
            bench.say(f"{_CALLS} calls of {tool}")
            environment = {**os.environ, **team.environment}
            samples = await asyncio.to_thread(tool_calls_ms, environment, tool, arguments, _CALLS)
            how = "".join(f", `{name}`" for name in arguments)
            figures.append(Figure(what=f"`{tool}`{how}", aim=aim, samples=samples))
    return of_figures(figures, _CALL_WORDS)


CALLS = Part(name="calls", title="Tool calls with a hundred instances present", measure=_measure_calls)
