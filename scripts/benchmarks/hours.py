"""A team of twenty real Claudes at work for an hour: what must not grow, and that nothing gets lost meanwhile.

Each gets a message every 20 s and is handed over to a fresh conversation after so many. One after another is ended and
another one started from the pool, and people look into their terminals. A stand-in of the API sees what arrives.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

import psutil

from actors.home import Home
from actors.messages import MessageStatus
from scripts.benchmarks.bench import Bench, start_batch, timed, until_idle
from scripts.benchmarks.idle_team import AGENTS, processes_by_kind
from scripts.benchmarks.peers.receiver import unanswered
from scripts.benchmarks.processes import exact_cpu_s, pss_mb
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.people import PtyPerson
from tests.standin.api import ApiStandIn, Json

_SIZE = 20
_MESSAGE_EVERY_S = 20.0
_TASKS_OF_ONE = 15
_ANOTHER_EVERY_S = 60.0
_PERSON_EVERY_S, _PERSON_STAYS_S = 15.0, 8.0
_LOOK_EVERY_S = 20.0
_WITHIN_S = 100.0
_SEED = 1
_PARTS = 6
"""Of the run. The first is for warming up; the second and the last are compared."""
_HEADER = re.compile(r"^\[phalanx (msg_\w+) from ", re.MULTILINE)
_WORDS = f"""
{_SIZE} of the real program against a stand-in of the API, each with a message every {_MESSAGE_EVERY_S:.0f} s, and
handed over to a fresh conversation after {_TASKS_OF_ONE}. Every {_ANOTHER_EVERY_S:.0f} s one is ended and another one
started, from the pool where it has one. Every {_PERSON_EVERY_S:.0f} s a person attaches to one of them, resizes the
terminal and leaves after {_PERSON_STAYS_S:.0f} s. Each message counts from the call to its proof, and has to be asked
of a model once, or the run fails. *at first* and *at last* are means over a sixth of the run, the first after
another sixth for warming up. Memory is the proportional share (PSS), CPU that of all processes but the agents. Files,
logs and store grow until 200 instances have ended: what they leave is kept for a day, but not of more.
"""


class _Asked(list[Json]):
    """The stand-in's record of requests, of which it keeps the messages that no answer follows yet."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[str] = Counter()
        self.conversations: set[str] = set()

    def append(self, request: Json) -> None:
        if request.get("tools"):
            self.times.update(set(_HEADER.findall("\n".join(unanswered(request)))))
            self.conversations.add(request["metadata"]["user_id"])


@dataclass(slots=True)
class _Seat:
    """One of the twenty, whoever has it now. ``free``: nobody sends to it, and it is not being given to another."""

    instance_id: str
    free: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _Work:
    """What goes on in the team until ``ends_at``, by ``time.monotonic``, and what came of it."""

    client: SupervisorClient
    team: Team
    seats: Sequence[_Seat]
    ends_at: float
    chance: Random = field(default_factory=lambda: Random(_SEED))  # noqa: S311 - a schedule, no secret
    sent: list[str] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    people: int = 0
    exchanged: int = 0
    from_pool: int = 0
    looks: list[_Look] = field(default_factory=list)

    async def done(self, say: Callable[[str], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, seat in enumerate(self.seats):
                group.create_task(self._messages(seat, number * _MESSAGE_EVERY_S / _SIZE))
            group.create_task(self._exchanges())
            group.create_task(self._people())
            group.create_task(self._look(say))

    async def _ticks(self, every_s: float, first_s: float) -> AsyncIterator[None]:
        at = time.monotonic() + first_s
        while at < self.ends_at:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            yield
            at += every_s

    async def _messages(self, seat: _Seat, first_s: float) -> None:
        async for _ in self._ticks(_MESSAGE_EVERY_S, first_s):
            async with seat.free:
                request = requests.SendRequest(
                    instance_id=seat.instance_id,
                    message=f"Go on, step {len(self.sent)}.",
                    wait=True,
                    timeout_seconds=_WITHIN_S,
                )
                took_ms, told = await timed(self.client.send(request))
                if told.status is not MessageStatus.SUBMITTED:
                    shown = await self.client.read(requests.ReadRequest(instance_id=seat.instance_id, source="screen"))
                    raise RuntimeError(f"{seat.instance_id} did not get a message: {told}\n{shown}")
                self.sent.append(told.message_id or "")
                self.took_ms.append(took_ms)

    async def _exchanges(self) -> None:
        async for _ in self._ticks(_ANOTHER_EVERY_S, _ANOTHER_EVERY_S):
            seat = self.chance.choice(self.seats)
            async with seat.free:
                await until_idle(self.client, [seat.instance_id], _WITHIN_S)
                await self.client.terminate(requests.TerminateRequest(instance_id=seat.instance_id))
                spawned = await self.client.spawn(self.team.specialist())
                seat.instance_id = spawned.instance_id
                self.exchanged += 1
                self.from_pool += spawned.from_pool

    async def _people(self) -> None:
        program = str(Path(sys.executable).with_name("phalanx"))
        environment = {"PHALANX_HOME": str(self.team.home.root)}
        async for _ in self._ticks(_PERSON_EVERY_S, _PERSON_EVERY_S):
            looked_at = self.chance.choice(self.seats).instance_id
            person = await asyncio.to_thread(PtyPerson, [program, "attach", looked_at], 80, 24, environment)
            try:
                await asyncio.sleep(_PERSON_STAYS_S / 2)
                person.resize(self.chance.randint(60, 200), self.chance.randint(20, 60))
                await asyncio.sleep(_PERSON_STAYS_S / 2)
                if not person.has_ended():  # as it does with its instance
                    await asyncio.to_thread(person.detach)
                self.people += 1
            finally:
                await asyncio.to_thread(person.hang_up)

    async def _look(self, say: Callable[[str], None]) -> None:
        async for _ in self._ticks(_LOOK_EVERY_S, 0.0):
            self.looks.append(await asyncio.to_thread(_look, self.team.home))
            memory = self.looks[-1].figures[_MEMORY]
            say(f"{self.ends_at - time.monotonic():.0f} s left, {len(self.sent)} messages, {memory:.0f} MB")


@dataclass(frozen=True, slots=True)
class _Look:
    """What the team takes at one moment. The names of ``figures`` end with the unit."""

    at: float
    figures: dict[str, float]
    cpu_s: dict[str, dict[psutil.Process, float]]
    """Of each process until then, by kind."""


_MEMORY = "memory of all, MB"


def _look(home: Home) -> _Look:
    groups = processes_by_kind(home)
    groups.pop(AGENTS, None)
    figures: defaultdict[str, float] = defaultdict(float)
    cpu_s: defaultdict[str, dict[psutil.Process, float]] = defaultdict(dict)
    for kind, group in groups.items():
        for process in group:
            with suppress(psutil.NoSuchProcess):
                cpu_s[kind][process] = exact_cpu_s(process)
                memory_mb = pss_mb(process)
                figures[_MEMORY] += memory_mb
                figures[f"memory of {kind}, MB"] += memory_mb
                figures["open descriptors"] += process.num_fds()
                figures["threads"] += process.num_threads()
                figures["processes"] += 1
    for path, size_mb in _sizes_mb(home):
        figures["files in the home"] += 1
        figures["all of the home, MB"] += size_mb
        if path.name.startswith(home.state_file.name):
            figures["the store, MB"] += size_mb
        if path.suffix in {".log", ".out", ".err"}:
            figures["logs, MB"] += size_mb
    return _Look(time.monotonic(), dict(figures), dict(cpu_s))


def _sizes_mb(home: Home) -> list[tuple[Path, float]]:
    """Of all files but those in worktrees."""
    found = []
    for directory, below, names in os.walk(home.root):
        if Path(directory) == home.worktrees:
            below.clear()
            continue
        for path in (Path(directory, name) for name in names):
            with suppress(FileNotFoundError):
                found.append((path, path.lstat().st_size / 1e6))
    return found


def _cpu_percent(looks: Sequence[_Look], kind: str) -> float:
    """Of one core, of those processes that were there at both of two looks."""
    used = [
        max(0.0, seconds - before.cpu_s[kind][process])
        for before, after in pairwise(looks)
        for process, seconds in after.cpu_s.get(kind, {}).items()
        if process in before.cpu_s.get(kind, {})
    ]
    return sum(used) / (looks[-1].at - looks[0].at) * 100


async def _measure(bench: Bench) -> Section:
    asked = _Asked()
    settings = {"PHALANX_RECYCLE_AFTER_TASKS": str(_TASKS_OF_ONE), "PREWARM_INSTANCES": "1"}
    async with bench.team_that_asks(ApiStandIn(requests=asked), **settings) as team, await team.connect() as client:
        bench.say(f"{_SIZE} start")
        batch = await start_batch(client, [team.specialist()] * _SIZE)
        begun = time.monotonic()
        work = _Work(client, team, [_Seat(each) for each in batch.ids], begun + bench.minutes * 60)
        await work.done(bench.say)
        await until_idle(client, [seat.instance_id for seat in work.seats], _WITHIN_S)
    _check(work.sent, asked.times)
    return _section(bench, work, begun, len(asked.conversations))


def _check(sent: Sequence[str], times: Counter[str]) -> None:
    if wrong := {each: times[each] for each in sent if times[each] != 1}:
        raise RuntimeError(f"{len(wrong)} of {len(sent)} messages were not asked of a model once but so often: {wrong}")


def _section(bench: Bench, work: _Work, begun: float, conversations: int) -> Section:
    part_s = bench.minutes * 60 / _PARTS
    parts = [[look for look in work.looks if int((look.at - begun) / part_s) == number] for number in range(_PARTS)]
    first, last = parts[1], parts[-1]
    names = sorted(
        {name for look in (*first, *last) for name in look.figures}, key=lambda name: (name != _MEMORY, name)
    )
    rows = [
        _row(name, *(statistics.fmean(each.figures.get(name, 0.0) for each in part) for part in (first, last)))
        for name in names
    ]
    kinds = sorted({kind for look in (*first, *last) for kind in look.cpu_s})
    used = [(_cpu_percent(first, kind), _cpu_percent(last, kind)) for kind in kinds]
    rows.append(_row("CPU of all, % of one core", *map(sum, zip(*used, strict=True))))
    rows += [_row(f"CPU of {kind}, % of one core", *both) for kind, both in zip(kinds, used, strict=True)]
    hundredths = statistics.quantiles(work.took_ms, n=100, method="inclusive")
    told = (
        f"In {bench.minutes:g} minutes: {len(work.sent)} messages in {conversations} conversations, "
        f"p50 {hundredths[49]:.0f} ms, p99 {hundredths[98]:.0f} ms, longest {max(work.took_ms) / 1000:.1f} s; "
        f"{work.people} people; {work.exchanged} instances ended and others started, {work.from_pool} from the pool."
    )
    return Section(
        columns=("what", "at first", "at last", "change"),
        rows=rows,
        words=f"{_WORDS}\n{told}\n",
        samples={"call to proof": work.took_ms, "memory of all, MB": [look.figures[_MEMORY] for look in work.looks]},
    )


def _row(name: str, first: float, last: float) -> tuple[str, ...]:
    change = f"{(last / first - 1) * 100:+.1f} %" if first else ""
    return (name, *(f"{value:.{0 if value >= 100 else 1}f}" for value in (first, last)), change)


PART = Part(name="hours", title="An hour of work", measure=_measure)
