"""Spare worktrees: for the directories that were last worked on, bound to an instance when it is started.

They are known in memory only: what an earlier supervisor has left is cleared away, since one is made in a moment. All
in the supervisor's event loop.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

from actors.background import Background
from actors.errors import PhalanxError
from actors.workspace.values import Workspace
from supervisor.pool.demand import PAUSE_S, Demand
from supervisor.spawning.staff import Staff
from supervisor.team.instance_record import SPARE_PREFIX
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

DIRECTORIES = 4
"""For so many, those that were worked on last, spares are kept."""


class SpareWorktrees:
    def __init__(self, roll: Roll, staff: Staff, size: int) -> None:
        self._roll = roll
        self._host = staff.host
        self._permits = staff.permits
        self._size = size
        self._ready: OrderedDict[Path, list[Workspace]] = OrderedDict()
        self._work = Background("a spare worktree")
        self.demand: Demand[Path] = Demand()
        """By the directory that is worked on."""

    def ready(self, work_dir: Path | None = None) -> int:
        if work_dir is not None:
            return len(self._ready.get(work_dir, ()))
        return sum(map(len, self._ready.values()))

    @property
    def size(self) -> int:
        """How many are kept."""
        return sum(map(self._wanted, self._ready))

    def asked_for(self, work_dir: Path) -> None:
        """Somebody works there."""
        self._ready.setdefault(work_dir, [])
        self._ready.move_to_end(work_dir)
        while len(self._ready) > DIRECTORIES:
            old, spares = self._ready.popitem(last=False)
            self.demand.forget(old)
            for spare in spares:
                self._discard(spare)

    def take(self, work_dir: Path) -> Workspace | None:
        spares = self._ready.get(work_dir)
        if not spares:
            return None
        self.demand.fill(work_dir)
        return spares.pop(0)

    def reject(self, spare: Workspace, why: str) -> None:
        """It was taken, and could not be used."""
        logger.warning("the spare worktree %s is discarded: %s", spare.worktree, why)
        self._discard(spare)

    def order(self, work_dir: Path, count: int) -> None:
        """From now on there shall be ``count``, until they are taken."""
        self.asked_for(work_dir)
        self.demand.order(work_dir, count)
        self._trim()
        self._roll.news.announce()

    def resize(self, size: int) -> None:
        self._size = size
        self._trim()
        self._roll.news.announce()

    def _trim(self) -> None:
        for work_dir, spares in self._ready.items():
            while len(spares) > self._wanted(work_dir):
                self._discard(spares.pop())

    async def give_up(self) -> None:
        """Makes no more and takes away all that there are."""
        self._size = 0
        self.demand.forget()
        self._trim()
        await self._work.done()

    async def end(self) -> None:
        await self._work.end()

    async def keep(self) -> None:
        """For ever."""
        await self._clear()
        while True:
            for work_dir in tuple(self._ready):
                for _ in range(self._missing(work_dir)):
                    self.demand.begin(work_dir)
                    self._work.begin(self._make(work_dir))
            await self._roll.news.until(lambda: any(self._missing(work_dir) > 0 for work_dir in self._ready), PAUSE_S)

    async def _clear(self) -> None:
        """What an earlier supervisor has left; unless it may belong to an instance whose record cannot be read."""
        if self._roll.unreadable.instance_ids:
            return
        try:
            for leftover in await self._host.leftovers(self._names()):
                if leftover.path.name.startswith(SPARE_PREFIX) and leftover.path.name not in self._names():
                    await self._host.collect_leftover(leftover)
        except PhalanxError as error:
            logger.warning("spare worktrees of an earlier supervisor could not be cleared away: %s", error)

    def _names(self) -> set[str]:
        return self._roll.registry.worktree_names()

    def _wanted(self, work_dir: Path) -> int:
        return max(self._size, self.demand.ordered(work_dir))

    def _missing(self, work_dir: Path) -> int:
        return self.demand.missing(work_dir, self._wanted(work_dir), len(self._ready[work_dir]))

    async def _make(self, work_dir: Path) -> None:
        name = self._roll.registry.next_spare()
        self._roll.registry.spare_worktrees.add(name)
        try:
            with self.demand.made(work_dir):
                async with self._permits.hold_in_background():
                    spare = await self._host.create_spare(name, work_dir)
                self._take_in(work_dir, spare)
        except BaseException:
            self._roll.registry.spare_worktrees.discard(name)
            raise
        finally:
            self._roll.news.announce()

    def _take_in(self, work_dir: Path, spare: Workspace) -> None:
        if work_dir in self._ready and len(self._ready[work_dir]) < self._wanted(work_dir):
            self._ready[work_dir].append(spare)
        else:
            self._discard(spare)

    def _discard(self, spare: Workspace) -> None:
        self._work.begin(self._take_away(spare))

    async def _take_away(self, spare: Workspace) -> None:
        await self._host.undo_workspace(spare)
        self.forget(spare)

    def forget(self, spare: Workspace) -> None:
        """It belongs to an instance now, or is gone."""
        if spare.worktree is not None:
            self._roll.registry.spare_worktrees.discard(spare.worktree.name)
