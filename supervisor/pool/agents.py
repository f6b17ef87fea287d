"""Spare agents: which there are, who gets one, and how many are kept.

How many: as many as were ordered and not taken yet, and for the kind that was last asked for as many as the settings
say. A spare that is dead, old or of an older program is replaced. What is made is made in the background, under the
spawn cap, while there is room. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine

from actors.errors import FencedError, PhalanxError
from actors.states import Status
from supervisor.pool.maker import SpareMaker
from supervisor.pool.recipe import Recipe
from supervisor.registry import Member, Stage
from supervisor.roll import Roll
from supervisor.staff import Staff

logger = logging.getLogger(__name__)

AGE_S = 1800.0
"""A conversation that begins later would begin with a program, and words of it about the day, of long ago."""
EVERY_S = 30.0
PAUSE_S = 30.0
"""After a failure the settings' spares are not tried again for so long."""


class SpareAgents:
    def __init__(self, roll: Roll, staff: Staff, maker: SpareMaker, size: int) -> None:
        self._roll = roll
        self._host = staff.host
        self._permits = staff.permits
        self._maker = maker
        self._size = size
        self._recipes: dict[str, Recipe] = {}
        self._current: str = ""
        self._ordered: Counter[str] = Counter()
        self._making: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._programs: dict[str, str] = {}
        self._paused_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors: dict[str, list[str]] = {}
        """Why spares could not be made since the last order, by recipe."""

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

    def take(self, recipe: Recipe) -> Member | None:
        """A spare, which is the taker's from now on."""
        found = next(iter(self.ready(recipe.key)), None)
        if found is not None:
            self._gone.add(found.record.instance_id)
            self._ordered[recipe.key] = max(self._ordered[recipe.key] - 1, 0)
        return found

    def reject(self, spare: Member, why: str) -> None:
        """It was taken, and could not be used."""
        logger.warning("the spare agent %s is discarded: %s", spare.record.instance_id, why)
        self._gone.add(spare.record.instance_id)
        self._begin(self._maker.discard(spare))

    def order(self, recipe: Recipe, count: int) -> None:
        """From now on there shall be ``count``, until they are taken."""
        self._recipes[recipe.key] = recipe
        self._current = self._current or recipe.key
        self._ordered[recipe.key] = count
        self._paused_until = 0.0
        self.errors[recipe.key] = []
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
        self._ordered.clear()
        await self.end()
        await asyncio.gather(*(self._maker.discard(spare) for spare in self._roll.registry.spares()))

    async def end(self) -> None:
        """Makes no more; what is ready stays for the next supervisor."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def give_back(self) -> bool:
        """Takes one spare away to make room; False when there is none."""
        found = next(iter(self.ready()), None)
        if found is not None:
            key = found.record.recipe
            self._ordered[key] = max(self._ordered[key] - 1, 0)
            self._paused_until = time.monotonic() + PAUSE_S
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
                if workspace is None or not await self._host.is_spare(workspace):
                    self.reject(spare, "it was being given away when the supervisor died")
            except PhalanxError as error:
                logger.warning("the spare agent %s could not be looked over: %s", spare.record.instance_id, error)

    def _has_to_do(self) -> bool:
        dead = any(self._is_useless(spare) for spare in self._roll.registry.spares())
        return dead or any(self._missing(key) > 0 for key in self._recipes)

    async def _learn_programs(self) -> None:
        for agent in {spare.record.agent for spare in self._roll.registry.spares()}:
            self._programs[agent] = await self._host.program(agent)

    def _replace_old(self) -> None:
        for spare in self._roll.registry.spares():
            if self._is_useless(spare):
                self.reject(spare, spare.snapshot.reason or "it is too old, or its program is")

    def _is_useless(self, spare: Member) -> bool:
        record = spare.record
        if record.stage is not Stage.SPARE or record.instance_id in self._gone or spare.turn.locked():
            return False
        outdated = record.program != self._programs.get(record.agent, record.program)
        return outdated or time.time() - record.created_at > AGE_S or not spare.alive

    def _is_ready(self, spare: Member) -> bool:
        record = spare.record
        return (
            record.stage is Stage.SPARE
            and record.instance_id not in self._gone
            and spare.snapshot.status is Status.READY
            and not spare.turn.locked()
            and self._roll.members.has(record.instance_id)
        )

    def _wanted(self, key: str) -> int:
        return max(self._ordered[key], self._size if key == self._current else 0)

    def _missing(self, key: str) -> int:
        if time.monotonic() < self._paused_until:
            return 0
        there = sum(
            spare.record.recipe == key and spare.record.stage is Stage.SPARE
            for spare in self._roll.registry.spares()
            if spare.record.instance_id not in self._gone
        )
        return self._wanted(key) - there - self._making[key]

    def _make_missing(self) -> None:
        for key, recipe in self._recipes.items():
            for _ in range(self._missing(key)):
                self._making[key] += 1
                self._begin(self._make(recipe))

    async def _make(self, recipe: Recipe) -> None:
        key = recipe.key
        try:
            async with self._permits.hold_in_background():
                if self._wanted(key) > len(self.ready(key)):
                    await self._maker.make(recipe)
        except PhalanxError as error:
            if self._ordered[key]:
                self.errors.setdefault(key, []).append(str(error))
            self._ordered[key] = max(self._ordered[key] - 1, 0)
            self._paused_until = time.monotonic() + PAUSE_S
            raise
        finally:
            self._making[key] -= 1
            self._roll.news.announce()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except PhalanxError as error:
        logger.warning("a spare agent: %s", error)
    except Exception:
        logger.exception("a spare agent")
