"""Spare agents: which there are, who gets one, and how many are kept.

How many: as many as were ordered and not taken yet, and for the kind that was last asked for as many as the settings
say. A spare that is dead, old or of an older program is replaced. What is made is made in the background, under the
spawn cap, while there is room. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter

from actors.background import Background
from actors.errors import FencedError, PhalanxError, UnavailableError
from actors.states import Status
from supervisor.pool.demand import Demand
from supervisor.pool.maker import SpareMaker
from supervisor.pool.recipe import Recipe
from supervisor.pool.seats import Seats
from supervisor.spawning.staff import Staff
from supervisor.team.registry import Member, Stage
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

AGE_S = 1800.0
"""A conversation that begins later would begin with a program, and words of it about the day, of long ago."""
EVERY_S = 30.0
_ASK_S = 10.0


class SpareAgents:
    def __init__(self, roll: Roll, staff: Staff, maker: SpareMaker, seats: Seats, size: int) -> None:
        self._roll = roll
        self._host = staff.host
        self._permits = staff.permits
        self._maker = maker
        self._seats = seats
        self._size = size
        self._recipes: dict[str, Recipe] = {}
        self._current: str = ""
        self._gone: set[str] = set()
        self._leaving: set[str] = set()
        """Those of ``_gone`` that are just being taken away."""
        self._programs: dict[tuple[str, str], str] = {}
        """By host and kind of agent."""
        self._work = Background("a spare agent")
        self.demand: Demand[str] = Demand()
        """By recipe."""

    def ready(self, key: str | None = None) -> list[Member]:
        """Those that can be taken now, oldest first; of all recipes without one."""
        spares = self._roll.registry.spares()
        return [spare for spare in spares if key in {None, spare.record.recipe} and self._is_ready(spare)]

    @property
    def size(self) -> int:
        """How many are kept."""
        return max(self._size if self._current else 0, sum(map(self._wanted, self._recipes)))

    def asked_for(self, recipe: Recipe) -> None:
        """Somebody starts an instance of this kind: the settings' spares are of it from now on."""
        self._recipes[recipe.key] = recipe
        self._current = recipe.key

    def take(self, recipe: Recipe, hosts: Sequence[str] | None) -> Member | None:
        """A spare, which is the taker's from now on. ``hosts``: where it may be, best first; None: anywhere."""
        found = min(self._fitting(recipe, hosts), key=itemgetter(0), default=(0, None))[1]
        if found is not None:
            self._gone.add(found.record.instance_id)
            self.demand.fill(recipe.key)
        return found

    def _fitting(self, recipe: Recipe, hosts: Sequence[str] | None) -> Iterator[tuple[int, Member]]:
        for spare in self.ready(recipe.key):
            if hosts is None or spare.record.host in hosts:
                yield hosts.index(spare.record.host) if hosts else 0, spare

    def reject(self, spare: Member, why: str) -> None:
        """It was taken, and could not be used."""
        logger.warning("the spare agent %s is discarded: %s", spare.record.instance_id, why)
        self._gone.add(spare.record.instance_id)
        self._leaving.add(spare.record.instance_id)
        self._work.begin(self._discard(spare))

    async def _discard(self, spare: Member) -> None:
        try:
            await self._maker.discard(spare)
        finally:
            self._leaving.discard(spare.record.instance_id)
            if spare.record.instance_id in self._roll.registry:  # not all of it went: it is looked at again
                self._gone.discard(spare.record.instance_id)

    def order(self, recipe: Recipe, count: int) -> None:
        """From now on there shall be ``count``, until they are taken."""
        self._recipes[recipe.key] = recipe
        self._current = self._current or recipe.key
        self.demand.order(recipe.key, count)
        self._trim(recipe.key)
        self._roll.news.announce()

    def resize(self, size: int) -> None:
        self._size = size
        for key in {spare.record.recipe for spare in self._roll.registry.spares()}:
            self._trim(key)
        self._roll.news.announce()

    def _trim(self, key: str) -> None:
        for spare in self.ready(key)[self._wanted(key) :]:
            self.reject(spare, "it is one too many")

    async def give_up(self) -> None:
        """Makes no more and takes away all that there are."""
        self._size, self._current = 0, ""
        self.demand.forget()
        await self.end()
        await asyncio.gather(*(self._maker.discard(spare) for spare in self._roll.registry.spares()))

    async def end(self) -> None:
        """Makes no more; what is ready stays for the next supervisor."""
        await self._work.end()

    @property
    def misplaced(self) -> bool:
        """Some are on a host that has no spares any more."""
        return any(not self._is_kept(spare) for spare in self._roll.registry.spares())

    def give_back(self, host: str) -> bool:
        """Takes one spare of the host (empty: this one) away to make room; False when there is none.

        In a cluster one after the other: whoever waits for a slot asks again and again until it is there.
        """
        name = host or self._seats.own
        here = [spare for spare in self._roll.registry.spares() if not name or spare.record.host == name]
        if name and any(spare.record.instance_id in self._leaving for spare in here):
            return True
        found = next((spare for spare in here if self._is_ready(spare)), None)
        if found is not None:
            self.demand.fill(found.record.recipe)
            self.demand.pause()
            self.reject(found, "its memory is needed")
        return found is not None

    async def keep(self) -> None:
        """For ever; ends when another supervisor has the state."""
        await self._look_over()
        while True:
            try:
                await self._learn_programs()
                self._replace_old()
                self._make_missing()
            except FencedError:
                return
            except PhalanxError as error:
                logger.warning("the spare agents could not be looked at: %s", error)
            await self._roll.news.until(self._has_to_do, EVERY_S)

    async def _look_over(self) -> None:
        """An earlier supervisor may have died while it gave one away."""
        for spare in self._roll.registry.spares():
            workspace = spare.record.workspace
            try:
                async with asyncio.timeout(_ASK_S):
                    if workspace is None or not await self._host.is_spare(workspace):
                        self.reject(spare, "it was being given away when the supervisor died")
            except (PhalanxError, TimeoutError) as error:
                # One that was bound is found out when it is taken.
                logger.warning("the spare agent %s could not be looked over: %s", spare.record.instance_id, error)

    def _has_to_do(self) -> bool:
        dead = any(self._is_useless(spare) for spare in self._roll.registry.spares())
        return dead or any(self._missing(key) > 0 for key in self._recipes)

    async def _learn_programs(self) -> None:
        """A host that does not answer at once keeps no other's spares from being looked after."""
        spares = [spare.record for spare in self._roll.registry.spares() if self._seats.is_open(spare.record.host)]
        for host, agent in {(record.host, record.agent) for record in spares}:
            with suppress(UnavailableError, TimeoutError):
                async with asyncio.timeout(_ASK_S):
                    self._programs[host, agent] = await (await self._seats.link(host)).program(agent)

    def _replace_old(self) -> None:
        for spare in self._roll.registry.spares():
            if self._is_useless(spare):
                self.reject(spare, self._why_useless(spare))

    def _is_useless(self, spare: Member) -> bool:
        record = spare.record
        if record.instance_id in self._gone or spare.turn.locked():
            return False
        if not self._is_kept(spare):
            return True
        outdated = record.program != self._programs.get((record.host, record.agent), record.program)
        old = time.time() - record.created_at > AGE_S
        return record.stage is Stage.SPARE and (outdated or old or not spare.alive)

    def _is_kept(self, spare: Member) -> bool:
        """One that is just being made on a host that is drained goes when it is made."""
        host = spare.record.host
        made = spare.record.stage is Stage.SPARE
        return not (self._seats.is_closed(host) if made else self._seats.is_lost(host))

    def _why_useless(self, spare: Member) -> str:
        if not self._is_kept(spare):
            return f"the host {spare.record.host} is drained or lost"
        return spare.snapshot.reason or "it is too old, or its program is"

    def _is_ready(self, spare: Member) -> bool:
        record = spare.record
        return (
            record.stage is Stage.SPARE
            and record.instance_id not in self._gone
            and spare.snapshot.status is Status.READY
            and not spare.turn.locked()
            and self._seats.is_open(record.host)
            and self._roll.members.has(record.instance_id)
        )

    def _wanted(self, key: str) -> int:
        return max(self.demand.ordered(key), self._size if key == self._current else 0)

    def _missing(self, key: str) -> int:
        there = sum(
            spare.record.recipe == key and spare.record.stage is Stage.SPARE
            for spare in self._roll.registry.spares()
            if spare.record.instance_id not in self._gone
        )
        return self.demand.missing(key, self._wanted(key), there)

    def _make_missing(self) -> None:
        for key, recipe in self._recipes.items():
            for _ in range(self._missing(key)):
                self.demand.begin(key)
                self._work.begin(self._make(recipe))

    async def _make(self, recipe: Recipe) -> None:
        key = recipe.key
        try:
            with self.demand.made(key):
                async with self._permits.hold_in_background():
                    if self._wanted(key) > len(self.ready(key)):
                        await self._maker.make(recipe)
        finally:
            self._roll.news.announce()
