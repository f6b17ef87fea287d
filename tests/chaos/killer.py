"""Carries out the kills: finds the processes by the marks of the home, ends them with kill -9, writes down what was
under way at that moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

import psutil

from actors.home import Home
from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Killed, Ledger
from tests.chaos.load import LoadClient
from tests.chaos.plan import Aim, Kill, Target, expected_length_s
from tests.chaos.redis import RedisServer
from tests.chaos.survey import RAY, Found, Kind, alive, survey

_KINDS: Mapping[Target, Collection[Kind]] = MappingProxyType(
    {
        Target.SUPERVISOR: {Kind.SUPERVISOR},
        Target.INSTANCES: {Kind.INSTANCE},
        Target.HOST: {Kind.HOST},
        Target.RAYLET: {Kind.RAYLET},
        Target.GCS: {Kind.GCS},
        Target.ENTRY: {Kind.ENTRY},
        Target.ENTRIES: {Kind.ENTRY},
        Target.ENDPOINT: {Kind.ENDPOINT},
        Target.BRING_UP: {Kind.BRING_UP, Kind.BOOT},
        Target.RAY: RAY,
        Target.RAY_STARTING: RAY,
        Target.EVERYTHING: {*RAY, Kind.ENTRY, Kind.ENDPOINT},
    }
)
_OF_REDIS = frozenset({Target.REDIS, Target.REDIS_EMPTIED, Target.EVERYTHING})
_JOURNAL, _BEING_TYPED = "typing.journal", b"typing"

_AIM_LIMIT_S = 2.0
_AIM_POLL_S = 0.005
_CALL_POLL_S = 0.02
_START_LIMIT_S, _START_POLL_S = 15.0, 0.05
_START_SHARE = 0.4
"""Of a kill's ``down_s``: Ray takes about two seconds to start."""

UntilWell = Callable[[], Awaitable[None]]
"""Returns when the team has recovered, or after a bounded time."""


@dataclass(slots=True, kw_only=True)
class Killer:
    """``arrivals`` tells what has arrived so far, ``calling`` how many instances wait for an answer of their tools.
    ``paced``: clients whose calls are due as the kills advance: so each meets a load, however late it comes."""

    home: Home
    run_id: str
    seed: int
    ledger: Ledger
    redis: RedisServer
    clients: Sequence[LoadClient] = ()
    arrivals: Callable[[], Sequence[Arrival]] = tuple
    calling: Callable[[], int] = int
    paced: Sequence[LoadClient] = ()
    _returning: set[asyncio.Task[None]] = field(default_factory=set)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, kills: Sequence[Kill], until_well: UntilWell) -> None:
        """Returns after the last kill, when Redis is there again."""
        chance = Random(f"victims {self.seed}")  # noqa: S311 - a schedule, no secret
        for done, kill in enumerate(kills, 1):
            await asyncio.sleep(kill.after_s)
            await self.strike(kill, chance)
            for client in self.paced:
                client.begun_at = asyncio.get_running_loop().time() - expected_length_s(kills[:done])
            if kill.let_recover:
                await until_well()
        await asyncio.gather(*self._returning)

    async def strike(self, kill: Kill, chance: Random) -> None:
        found = await self._survey_for(kill)
        held = alive(found, Kind.SUPERVISOR) if kill.unanswered else []
        try:
            await self._strike(kill, found, held, chance)
        finally:
            _each(held, psutil.Process.resume)

    async def _survey_for(self, kill: Kill) -> Sequence[Found]:
        """An endpoint that was killed together with its keeper is back only with Ray: it is waited for."""
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            found = await asyncio.to_thread(survey, self.home, self.run_id)
            if kill.target is not Target.ENDPOINT or alive(found, Kind.ENDPOINT) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_START_POLL_S)

    async def _strike(self, kill: Kill, found: Sequence[Found], held: Sequence[Found], chance: Random) -> None:
        typing = await self._aim(kill, held)
        victims = _chosen(kill, found, chance, typing)
        if kill.target is Target.RAY_STARTING:
            victims += await self._while_it_starts(kill, victims)
        under_way = {client.name: client.under_way for client in self.clients if client.under_way}
        calling = await asyncio.to_thread(self.calling)
        at = time.time()
        _end(victims)
        was_there = self._strike_redis(kill) or bool(victims)
        undelivered = await asyncio.to_thread(self._undelivered)
        killed = Killed(
            target=kill.target,
            at=at,
            found=was_there,
            undelivered=undelivered,
            being_typed=len(typing),
            calling=calling,
        )
        self.ledger.killed(
            killed,
            victims=[f"{each.pid} {each.kind} {each.instance_id}{each.client}" for each in victims],
            under_way=under_way,
            typing=typing,
            down_s=kill.down_s,
        )

    async def _while_it_starts(self, kill: Kill, victims: Sequence[Found]) -> list[Found]:
        """Kills Ray and waits until somebody starts it again: its GCS, or all of it, dies while that is at work."""
        _end(victims)
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            if young := alive(await asyncio.to_thread(survey, self.home, self.run_id), Kind.GCS):
                await asyncio.sleep(kill.down_s * _START_SHARE)
                return young
            await asyncio.sleep(_START_POLL_S)
        return []

    async def _aim(self, kill: Kill, held: Sequence[Found]) -> list[str]:
        """Waits for the moment, if it comes; returns the instances in which something is being typed then. ``held``:
        who is stopped at that moment."""
        deadline = time.monotonic() + _AIM_LIMIT_S
        while kill.aim is Aim.WHILE_TYPING and not self._journals() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_AIM_POLL_S)
        while kill.aim is Aim.DURING_A_CALL and time.monotonic() < deadline:
            if await asyncio.to_thread(self.calling):
                break
            await asyncio.sleep(_CALL_POLL_S)
        if kill.aim is Aim.AFTER_A_SEND:
            await self._next_answer()
        _each(held, psutil.Process.suspend)
        await asyncio.sleep(0 if kill.aim is Aim.NONE else kill.aim_s)
        return self._journals()

    async def _next_answer(self) -> None:
        """Until any of the clients has the answer to a send."""
        waiting = [asyncio.ensure_future(_next(client.sent)) for client in self.clients]
        if waiting:
            _, others = await asyncio.wait(waiting, timeout=_AIM_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            for each in others:
                each.cancel()

    def _strike_redis(self, kill: Kill) -> bool:
        """Whether it was there."""
        was_there = self.redis.is_running
        if kill.target in _OF_REDIS:
            self.redis.kill()
            if kill.target is Target.REDIS_EMPTIED:
                self.redis.forget()
        elif kill.target is Target.REDIS_STALLED:
            self.redis.stall()
        else:
            return False
        self._returning.add(asyncio.create_task(self._bring_redis_back(kill)))
        return was_there

    async def _bring_redis_back(self, kill: Kill) -> None:
        await asyncio.sleep(kill.down_s)
        if kill.target is Target.REDIS_STALLED:
            self.redis.go_on()
        else:
            async with self._one_at_a_time:
                await asyncio.to_thread(self.redis.start)
        self.ledger.note("Redis is back", after=kill.target)

    def _undelivered(self) -> int:
        there = {each.message_id for each in self.arrivals()}
        return len(self.ledger.accepted.keys() - there)

    def _journals(self) -> list[str]:
        """The instances whose journal says that a batch is on its way into the conversation."""
        found = []
        for path in self.home.instances.glob(f"*/{_JOURNAL}"):
            with suppress(OSError):
                found += [path.parent.name] if _BEING_TYPED in path.read_bytes() else []
        return sorted(found)


def _end(victims: Iterable[Found]) -> None:
    _each(victims, psutil.Process.kill)


def _each(found: Iterable[Found], do: Callable[[psutil.Process], None]) -> None:
    for each in found:
        with suppress(psutil.Error):
            do(each.process)


async def _next(event: asyncio.Event) -> None:
    event.clear()
    await event.wait()


def _chosen(kill: Kill, found: Sequence[Found], chance: Random, typing: Collection[str]) -> list[Found]:
    """In random order, so that it is not always the same one that sees the others die; actors that type come first."""
    there = alive(found, *_KINDS.get(kill.target, ()))
    there.sort(key=lambda each: (each.client, each.instance_id, each.pid))
    chance.shuffle(there)
    there.sort(key=lambda each: each.instance_id not in typing)
    if kill.target is Target.INSTANCES:
        return there[: kill.count]
    return there[:1] if kill.target is Target.ENTRY else there
