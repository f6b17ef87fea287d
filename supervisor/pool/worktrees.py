"""Spare worktrees: kept ready, and cleared away when nobody needs them.

Spare worktrees: for the directories that were last worked on, bound to an instance when it is started.

They are known in memory only: what an earlier supervisor has left is cleared away, since one is made in a moment, and
so is what a host has that comes back (``StaleSpareCleaner``). What is ordered is stored by ``Pool``. A spare is for
instances that are placed on its host: to make one is quick, so it moves nobody. All in the supervisor's event loop.

Clears away what hosts have of spares that are nobody's: of an earlier supervisor, or of an earlier stay of theirs.

Used by ``WorktreePool``, which asks before it makes any. Each host is looked over once while it is there; one that
does not answer, or on which something stays, is looked over again after pauses that grow, and holds up no other. While
a record cannot be read nothing is cleared, since it may be that of an instance which was a spare. All in the
supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet
from actors.errors import PhalanxError, WorkspaceError
from actors.worktrees.model import OrphanWorktree, Workspace
from supervisor.pool.demand import PAUSE_S, Demand, waits_for
from supervisor.pool.placement import SparePlacement
from supervisor.ports import HostPort
from supervisor.spawning.staff import Staff
from supervisor.team.instance import SPARE_PREFIX
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_PATIENCE_S = 10.0
"""Spares are made beside what takes longer."""
_AGAIN = Backoff(first_s=20.0, longest_s=1800.0)


class StaleSpareCleaner:
    def __init__(self, team: Team, placement: SparePlacement) -> None:
        self._team = team
        self._placement = placement
        self._cleared: set[str] = set()
        self._queries: set[str] = set()
        self._tries = RetrySchedule[str](_AGAIN)
        self._work = TaskSet("clear spares away")

    def look_again(self) -> None:
        """Something may be left on a host that was cleared."""
        self._cleared.clear()

    async def look(self) -> None:
        """Begins with all hosts that are to be looked over now, and waits for them a little."""
        self._cleared &= self._placement.linked
        if self._team.unreadable.instance_ids:
            return
        now = asyncio.get_running_loop().time()
        due = [host for host in self._placement.linked - self._cleared - self._queries if self._tries.may(host, now)]
        looks = [asyncio.create_task(self._look_over(host)) for host in due]
        for look in looks:
            self._work.keep(look)
        if looks:
            await asyncio.wait(looks, timeout=_PATIENCE_S)

    async def end(self) -> None:
        await self._work.end()

    async def _look_over(self, host: str) -> None:
        self._queries.add(host)
        # First, so that what is left meanwhile is found by the next look.
        self._cleared.add(host)
        cleared = False
        try:
            cleared = await self._clear(host)
        except PhalanxError as error:
            logger.warning("what is left of spares%s cannot be cleared away now: %s", _on(host), error)
        finally:
            self._queries.discard(host)
            self._note(host, cleared=cleared)

    def _note(self, host: str, *, cleared: bool) -> None:
        if cleared:
            self._tries.worked(host)
        else:
            self._cleared.discard(host)
            self._tries.failed(host, asyncio.get_running_loop().time())

    async def _clear(self, host: str) -> bool:
        """Whether nothing stays that should go."""
        link = await self._placement.link(host)
        stays = set()
        for orphan in await link.orphans(self._names()):
            if self._is_ours(host, orphan) and not await _goes(link, orphan):
                stays.add(orphan.path.name)
        for name in await link.instance_directories():
            known = {member.record.place for member in self._team.registry.everyone()}
            if name.startswith(SPARE_PREFIX) and name not in known | stays:
                await link.forget_instance(name)
        return not stays

    def _is_ours(self, host: str, orphan: OrphanWorktree) -> bool:
        """What is left of an instance on another host is for ``phalanx gc``."""
        name = orphan.path.name
        elsewhere = host != self._placement.own
        return name.startswith(SPARE_PREFIX) and name not in self._names() and not (elsewhere and orphan.branch)

    def _names(self) -> set[str]:
        return self._team.registry.worktree_names()


async def _goes(link: HostPort, orphan: OrphanWorktree) -> bool:
    """False: it is in use, or is no worktree (any more)."""
    try:
        return (await link.remove_orphan(orphan)).removed
    except WorkspaceError as error:
        logger.warning("%s cannot be cleared away: %s", orphan.path, error)
        return False


def _on(host: str) -> str:
    return f" on {host}" if host else ""


DIRECTORIES = 4
"""For so many, those that were worked on last, spares are kept, and for all of which some are ordered."""


@dataclass(frozen=True, slots=True)
class _SpareWorktree:
    workspace: Workspace
    host: str


class WorktreePool:
    def __init__(self, team: Team, staff: Staff, placement: SparePlacement, size: int) -> None:
        self._team = team
        self._host = staff.host
        self._permits = staff.permits
        self._placement = placement
        self._size = size
        self._ready: OrderedDict[Path, list[_SpareWorktree]] = OrderedDict()
        self._coming: dict[str, tuple[Path, str]] = {}
        """Directory and host by name of those that are just being made."""
        self._clearing = StaleSpareCleaner(team, placement)
        self._work = TaskSet("a spare worktree")
        self.demand: Demand[Path] = Demand()
        """By the directory that is worked on."""

    def ready(self, work_dir: Path | None = None) -> int:
        there = self._ready.get(work_dir, ()) if work_dir is not None else chain.from_iterable(self._ready.values())
        return sum(self._placement.is_open(each.host) for each in there)

    @property
    def hosts(self) -> Counter[str]:
        """How many are ready on each."""
        everywhere = chain.from_iterable(self._ready.values())
        return Counter(each.host for each in everywhere if self._placement.is_open(each.host))

    @property
    def misplaced(self) -> bool:
        """Some are on a host that has no spares any more."""
        return any(self._placement.is_closed(each.host) for each in chain.from_iterable(self._ready.values()))

    @property
    def size(self) -> int:
        """How many there shall be; of the settings' in any case those of one directory, which may not be known yet."""
        return max(self._size, sum(map(self._wanted, self._ready)))

    def lacking(self, work_dir: Path) -> int:
        """How many of those that were ordered are neither ready nor taken nor given up."""
        return max(self.demand.ordered(work_dir) - self.ready(work_dir), 0)

    @property
    def waits_for(self) -> str:
        """As that of ``AgentPool``."""
        if self._size and not self._ready:
            return "the first spawn of an isolated instance: they are for the repositories that are worked on"
        lacking = sum(max(self._wanted(each) - self.ready(each), 0) for each in self._ready)
        return waits_for(lacking, self.demand, self._permits)

    def asked_for(self, work_dir: Path) -> None:
        """Somebody works there."""
        self._ready.setdefault(work_dir, [])
        self._ready.move_to_end(work_dir)
        unordered = [each for each in self._ready if each != work_dir and not self.demand.ordered(each)]
        for old in unordered[: max(len(self._ready) - DIRECTORIES, 0)]:
            for spare in self._ready.pop(old):
                self._discard(spare)

    def take(self, work_dir: Path, host: str) -> Workspace | None:
        """``host``: where it must be; empty on one machine."""
        spares = self._ready.get(work_dir, [])
        found = next((each for each in spares if each.host == host and self._placement.is_open(host)), None)
        if found is None:
            return None
        self.demand.take(work_dir)
        spares.remove(found)
        return found.workspace

    def reject(self, spare: Workspace, why: str) -> None:
        """It was taken, and could not be used."""
        logger.warning("the spare worktree %s is discarded: %s", spare.worktree, why)
        self._work.begin(self._take_away(spare))

    def restore(self, orders: Mapping[str, int]) -> None:
        """What an earlier supervisor was asked for, by directory."""
        for work_dir, count in orders.items():
            self.order(Path(work_dir), count)

    def order(self, work_dir: Path, count: int) -> None:
        """From now on there shall be ``count``, until they are taken."""
        self.asked_for(work_dir)
        self.demand.order(work_dir, count)
        self._trim()
        self._team.changes.announce()

    def resize(self, size: int) -> None:
        self._size = size
        self._trim()
        self._team.changes.announce()

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
        await self._clearing.end()

    async def keep(self) -> None:
        """For ever."""
        while True:
            await self._clearing.look()
            self._note_use()
            self._leave_closed()
            for work_dir in tuple(self._ready):
                for _ in range(self._missing(work_dir)):
                    self.demand.begin(work_dir)
                    self._work.begin(self._make(work_dir))
            await self._team.changes.until(self._has_to_do, PAUSE_S)

    def _note_use(self) -> None:
        """Who lives works somewhere, also when an earlier supervisor has started it."""
        for member in reversed(tuple(self._team.registry)):
            record = member.record
            follows = record.is_isolated and self._team.members.has(record.instance_id)
            if follows and record.work_dir not in self._ready and len(self._ready) < DIRECTORIES:
                self.asked_for(record.work_dir)

    def _has_to_do(self) -> bool:
        return self.misplaced or any(self._missing(work_dir) > 0 for work_dir in self._ready)

    def _leave_closed(self) -> None:
        """What is on a lost host is cleared away when that is back."""
        for spares in self._ready.values():
            for closed in [each for each in spares if self._placement.is_closed(each.host)]:
                spares.remove(closed)
                self._discard(closed)

    def _wanted(self, work_dir: Path) -> int:
        return max(self._size, self.demand.ordered(work_dir))

    def _missing(self, work_dir: Path) -> int:
        return self.demand.missing(work_dir, self._wanted(work_dir), self.ready(work_dir))

    async def _make(self, work_dir: Path) -> None:
        name = self._team.registry.next_spare()
        self._team.registry.spare_worktrees.add(name)
        try:
            with self.demand.made(work_dir):
                async with self._permits.hold_in_background():
                    place = await self._placement.for_worktree(self._hosts_of(work_dir))
                    self._coming[name] = (work_dir, place.host)
                    self._placement.settle(name, place.host)
                    spare = _SpareWorktree(await self._host.create_spare(name, work_dir), place.host)
                self._take_in(work_dir, spare)
        except BaseException:
            self._team.registry.spare_worktrees.discard(name)
            raise
        finally:
            self._coming.pop(name, None)
            self._team.changes.announce()

    def _hosts_of(self, work_dir: Path) -> list[str]:
        """Of those that are ready or just being made."""
        coming = [host for where, host in self._coming.values() if where == work_dir]
        return [*coming, *(each.host for each in self._ready.get(work_dir, ()))]

    def _take_in(self, work_dir: Path, spare: _SpareWorktree) -> None:
        if work_dir in self._ready and len(self._ready[work_dir]) < self._wanted(work_dir):
            self._ready[work_dir].append(spare)
        else:
            self._discard(spare)

    def _discard(self, spare: _SpareWorktree) -> None:
        if self._placement.is_lost(spare.host):
            self.forget(spare.workspace)
        else:
            self._work.begin(self._take_away(spare.workspace))

    async def _take_away(self, spare: Workspace) -> None:
        try:
            await self._host.undo_workspace(spare)
        except PhalanxError:
            self._clearing.look_again()
            raise
        finally:
            self.forget(spare)

    def forget(self, spare: Workspace) -> None:
        """It belongs to an instance now, or is gone."""
        if spare.worktree is not None:
            self._team.registry.spare_worktrees.discard(spare.worktree.name)
