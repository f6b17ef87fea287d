"""How soon a team is itself again after ``kill -9`` of any of its processes, also while it is being brought back.

Three callers wait for an answer when a process dies: a lead that lists and one that sends a message, over an entry, and
an instance that lists, over the endpoint. Messages were accepted just before. Only processes with the marks of this
run's own home are killed.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx2
import psutil
from mcp.client.client import Client
from mcp.client.stdio import stdio_client

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.section import Part, Section
from tests.chaos import copies
from tests.chaos.survey import RAY, Found, Kind, alive, survey
from tests.chaos.world import World, brought_up

_INSTANCES = 4
_ACCEPTED_EACH = 2
_SEED = 1
_LATEST_S = 1.0
"""Longest from when a process appears in a bring-up to its kill."""
_APPEARS_S = 20.0
_WELL_S = 120.0
_ANSWER_S = 120.0
_POLL_S = 0.02
_PROVED_POLL_S = 0.1
_CALL_EVERY_S = 0.1
_AIM_P50_S, _AIM_WORST_S, _AIM_DELIVERED_S = 4.0, 15.0, 20.0
_WORDS = f"""
{_INSTANCES} demo agents and a Redis. One process, or all of a kind, is killed by SIGKILL: *running*, while the team is
whole, or *bring-up*, after all of Ray was killed and while it is being brought back, at most {_LATEST_S:.0f} s after
the process has appeared there. A lead that lists and one that sends wait meanwhile over one entry, and an instance that
lists over its endpoint. *answered*: the longest that a call of each of the three waited until the team was whole again.
*delivered*: until the last of {_INSTANCES * _ACCEPTED_EACH} messages that were accepted just before, and of the one
that was being sent, had its proof. Both are counted from the last kill. A call that is refused or a message without
proof fails the run.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blow:
    """``kinds``: what is killed, empty: Redis. ``awaits``: which of these must have appeared, in a bring-up."""

    name: str
    kinds: frozenset[Kind]
    awaits: Kind | None = None


_RUNNING = (
    _Blow(name="supervisor", kinds=frozenset({Kind.SUPERVISOR})),
    _Blow(name="instance actors", kinds=frozenset({Kind.INSTANCE})),
    _Blow(name="host actor", kinds=frozenset({Kind.HOST})),
    _Blow(name="raylet", kinds=frozenset({Kind.RAYLET})),
    _Blow(name="GCS", kinds=frozenset({Kind.GCS})),
    _Blow(name="Redis", kinds=frozenset()),
    _Blow(name="endpoint", kinds=frozenset({Kind.ENDPOINT})),
    _Blow(name="all of Ray", kinds=RAY),
)
_STARTING = (
    _Blow(name="bring-up", kinds=frozenset({Kind.BRING_UP})),
    _Blow(name="boot program", kinds=frozenset({Kind.BOOT})),
    _Blow(name="head", kinds=frozenset({Kind.HEAD})),
    *_RUNNING[:5],
    _Blow(name="Redis", kinds=frozenset(), awaits=Kind.GCS),
    _Blow(name="endpoint", kinds=frozenset({Kind.ENDPOINT}), awaits=Kind.GCS),
    _Blow(name="all of Ray", kinds=RAY, awaits=Kind.GCS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """In seconds, from the last kill. ``answered_s``: of each caller that was waiting."""

    blow: str
    bring_up: bool
    answered_s: tuple[float, ...]
    delivered_s: float


async def _measure(bench: Bench) -> Section:
    return section(await outcomes(bench, _SEED))


async def outcomes(bench: Bench, seed: int) -> list[_Outcome]:
    """One of each kill. ``seed`` chooses the moments of those in a bring-up."""
    chance = Random(seed)  # noqa: S311 - a schedule, no secret
    found = []
    async with brought_up({"PHALANX_AGENT": "demo"}) as world, Client(stdio_client(world.entry("lead"))) as lead:
        team = await _Team.made(world, lead)
        for bring_up, blows in ((False, _RUNNING), (True, _STARTING)):
            for blow in blows:
                outcome = await team.after(blow, chance.uniform(0, _LATEST_S) if bring_up else None)
                found.append(outcome)
                waits = " ".join(f"{each:.1f}" for each in outcome.answered_s)
                bench.say(
                    f"{blow.name}{', bring-up' if bring_up else ''}: answered after {waits} s, "
                    f"delivered after {outcome.delivered_s:.1f} s"
                )
    return found


def section(found: Sequence[_Outcome]) -> Section:
    names = dict.fromkeys((each.blow, each.bring_up) for each in found)
    rows = [
        _row(blow, "bring-up" if bring_up else "running", those)
        for blow, bring_up in names
        if (those := [each for each in found if (each.blow, each.bring_up) == (blow, bring_up)])
    ]
    aim = (f"≤ {_AIM_P50_S:.0f} s", f"≤ {_AIM_WORST_S:.0f} s", f"≤ {_AIM_DELIVERED_S:.0f} s")
    rows += [_row("any", "", found), ("aim", "", "", *aim)]
    columns = ("killed", "while", "kills", "answered, p50", "answered, most", "delivered, most")
    samples = {
        "answered, running (s)": [s for each in found if not each.bring_up for s in each.answered_s],
        "answered, bring-up (s)": [s for each in found if each.bring_up for s in each.answered_s],
        "delivered (s)": [each.delivered_s for each in found],
    }
    return Section(columns=columns, rows=rows, words=_WORDS, samples=samples)


def _row(name: str, phase: str, those: Sequence[_Outcome]) -> tuple[str, ...]:
    waits = [s for each in those for s in each.answered_s]
    delivered = max(each.delivered_s for each in those)
    figures = (statistics.median(waits), max(waits), delivered)
    return (name, phase, str(len(those)), *(f"{each:.1f} s" for each in figures))


@dataclass(slots=True, kw_only=True)
class _Waits:
    """The longest wait of one caller since the last kill."""

    killed_at: float = math.inf
    longest_s: float = 0.0

    async def call(self, call: Callable[[], Awaitable[None]]) -> None:
        begun = time.monotonic()
        await call()
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - max(begun, self.killed_at))

    def struck(self, at: float) -> None:
        """What was answered before has not waited."""
        self.killed_at, self.longest_s = at, 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Team:
    world: World
    lead: Client
    ids: Sequence[str]
    server: Mapping[str, Any]
    """Where and with which headers an instance calls."""

    @classmethod
    async def made(cls, world: World, lead: Client) -> _Team:
        member = {"role": "specialist", "workDir": str(world.repository), "context": "hello"}
        spawned = await _tool(lead, "spawn_batch", instances=[member] * _INSTANCES)
        ids = [each["instanceId"] for each in spawned["instances"]]
        config = json.loads((world.home.instance_directory(ids[0]) / "mcp.json").read_text())
        (server,) = config["mcpServers"].values()
        team = cls(world=world, lead=lead, ids=ids, server=server)
        await team.until_well()
        return team

    async def after(self, blow: _Blow, later_s: float | None) -> _Outcome:
        """``later_s``: all of Ray is killed first, and this so long after the process has appeared in the bring-up."""
        accepted = await self._accepted()
        waits = [_Waits() for _ in range(3)]
        whole = asyncio.Event()
        calling = [
            asyncio.create_task(_repeat(waits[0], self._list, whole)),
            asyncio.create_task(_repeat(waits[1], self._list_as_instance, whole)),
        ]
        await asyncio.sleep(_CALL_EVERY_S)
        if later_s is not None:
            lost = alive(await self.world.survey(), *RAY)
            _kill(lost)
            await asyncio.to_thread(psutil.wait_procs, [each.process for each in lost], _APPEARS_S)
        sending = asyncio.create_task(waits[2].call(lambda: self._send(accepted)))
        if later_s is not None:
            await self._appeared(blow, later_s)
        await self._strike(blow, waits)
        await self._until_whole(blow)
        whole.set()
        await asyncio.gather(*calling, sending)
        delivered_s = await self._until_proved(accepted) - waits[0].killed_at
        if not self.world.redis.is_running:
            await asyncio.to_thread(self.world.redis.start)
        await self.until_well()
        return _Outcome(
            blow=blow.name,
            bring_up=later_s is not None,
            answered_s=tuple(each.longest_s for each in waits),
            delivered_s=delivered_s,
        )

    async def _strike(self, blow: _Blow, waits: Iterable[_Waits]) -> None:
        victims = alive(await self.world.survey(), *blow.kinds)
        for each in waits:
            each.struck(time.monotonic())
        if blow.kinds:
            if not victims:
                raise RuntimeError(f"there was no {blow.name} to kill")
            _kill(victims)
        else:
            self.world.redis.kill()

    async def _appeared(self, blow: _Blow, later_s: float) -> None:
        wanted = [blow.awaits] if blow.awaits else blow.kinds
        deadline = time.monotonic() + _APPEARS_S
        while not alive(await asyncio.to_thread(survey, self.world.home, self.world.run_id), *wanted):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{blow.name} did not appear in the bring-up")
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(later_s)

    async def _until_whole(self, blow: _Blow) -> None:
        """What was killed is there again, and so is all else. A Ray that has lost a part still answers for a moment."""
        deadline = time.monotonic() + _WELL_S
        lasting = blow.kinds - {Kind.BRING_UP, Kind.BOOT, Kind.RAY_AGENT, Kind.IDLE_WORKER}
        while True:
            kinds = {each.kind for each in await self.world.survey()}
            state = await asyncio.to_thread(self.world.runtime.state)
            if state.kind == "running" and lasting <= kinds and not kinds & {Kind.BRING_UP, Kind.BOOT}:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{_WELL_S:.0f} s after {blow.name} was killed the team is not whole")
            await asyncio.sleep(_POLL_S)

    async def until_well(self) -> None:
        """All instances are followed and idle, and the endpoint answers."""
        async with asyncio.timeout(_WELL_S):
            while True:
                listed = (await _tool(self.lead, "list"))["instances"]
                if [each["status"] for each in listed] == ["ready"] * _INSTANCES:
                    break
                await asyncio.sleep(_PROVED_POLL_S)
            await self._list_as_instance()

    async def _accepted(self) -> list[str]:
        messages = [{"instanceId": each, "message": "a word"} for each in self.ids] * _ACCEPTED_EACH
        return [each["messageId"] for each in (await _tool(self.lead, "send_batch", messages=messages))["results"]]

    async def _until_proved(self, accepted: Sequence[str]) -> float:
        """When the last one was."""
        deadline = time.monotonic() + _WELL_S
        while True:
            told = copies.statuses(await asyncio.to_thread(copies.in_file, self.world.home))
            if all(told.get(each) == "submitted" for each in accepted):
                return time.monotonic()
            if time.monotonic() > deadline:
                raise RuntimeError(f"not proved: {[told.get(each) for each in accepted]}")
            await asyncio.sleep(_PROVED_POLL_S)

    async def _list(self) -> None:
        await _tool(self.lead, "list")

    async def _send(self, accepted: list[str]) -> None:
        sent = await _tool(self.lead, "send", instanceId=self.ids[0], message="while it died")
        accepted.append(sent["messageId"])

    async def _list_as_instance(self) -> None:
        """As an agent's program calls; a call whose connection ends is made again."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list", "arguments": {}}}
        headers = {**self.server["headers"], "Accept": "application/json, text/event-stream"}
        async with asyncio.timeout(_ANSWER_S):
            while True:
                with suppress(httpx2.TransportError):
                    async with httpx2.AsyncClient(timeout=_ANSWER_S) as http:
                        answer = (await http.post(self.server["url"], json=asked, headers=headers)).json()
                    if "error" in answer or answer["result"].get("isError"):
                        raise RuntimeError(f"an instance's call was refused: {answer}")
                    return
                await asyncio.sleep(_CALL_EVERY_S)


async def _repeat(waits: _Waits, call: Callable[[], Awaitable[None]], until: asyncio.Event) -> None:
    """The last call begins afterwards."""
    last = False
    while not last:
        last = until.is_set()
        await waits.call(call)
        await asyncio.sleep(_CALL_EVERY_S)


async def _tool(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    async with asyncio.timeout(_ANSWER_S):
        answer = await client.call_tool(name, arguments, read_timeout_seconds=2 * _ANSWER_S)
    if answer.is_error or answer.structured_content is None:
        raise RuntimeError(f"{name} was refused: {answer.content}")
    return dict(answer.structured_content)


def _kill(victims: Iterable[Found]) -> None:
    for each in victims:
        with suppress(psutil.NoSuchProcess):
            each.process.kill()


PART = Part(name="recovery", title="A process killed under a team at work", measure=_measure)
