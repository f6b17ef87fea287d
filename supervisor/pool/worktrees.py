"""Spare worktrees, by the directory that is worked on: checked out, and bound to an instance when it is started.

They are known in memory only. What an earlier supervisor has left, or a host has that comes back, is cleared away
(``StaleSpareCleaner``), since one is made in a moment. For the same reason one is taken on its own host only. All in
the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from actors.concurrency import TaskSet
from actors.errors import PhalanxError, WorkspaceError
from actors.worktrees.model import OrphanWorktree, Workspace
from supervisor.backoff import Backoff
from supervisor.pool.placement import SparePlacement
from supervisor.pool.pool import Spare
from supervisor.ports import HostPort
from supervisor.team.instance import SPARE_PREFIX
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_PATIENCE_S = 10.0
"""Spares are made beside what takes longer."""
_AGAIN_S = 20.0
_MOST_S = 1800.0


class StaleSpareCleaner:
    """Clears away what hosts have of spares that are nobody's: agents' directories and worktrees.

    Each host is looked over once while it is there; one that does not answer, or on which something stays, is looked
    over again after pauses that grow. While a record cannot be read nothing is cleared: it may be that of an instance
    which was a spare.
    """

    def __init__(self, team: Team, placement: SparePlacement) -> None:
        self._team = team
        self._placement = placement
        self._cleared: set[str] = set()
        self._looking: set[str] = set()
        self._tries = Backoff[str](_AGAIN_S, _MOST_S)
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
        due = [host for host in self._placement.linked - self._cleared - self._looking if self._tries.may(host, now)]
        looks = [asyncio.create_task(self._look_over(host)) for host in due]
        for look in looks:
            self._work.keep(look)
        if looks:
            await asyncio.wait(looks, timeout=_PATIENCE_S)

    async def end(self) -> None:
        await self._work.end()

    async def _look_over(self, host: str) -> None:
        self._looking.add(host)
        # First, so that what is left meanwhile is found by the next look.
        self._cleared.add(host)
        cleared = False
        try:
            cleared = await self._clear(host)
        except PhalanxError as error:
            where = f" on {host}" if host else ""
            logger.warning("what is left of spares%s cannot be cleared away now: %s", where, error)
        finally:
            self._looking.discard(host)
            if cleared:
                self._tries.worked(host)
            else:
                self._cleared.discard(host)
                self._tries.failed(host, asyncio.get_running_loop().time())

    async def _clear(self, host: str) -> bool:
        """Whether nothing stays that should go."""
        link = await self._placement.link(host)
        stays = set()
        for orphan in await link.orphans(self._team.registry.worktree_names()):
            if self._is_stale(host, orphan) and not await _goes(link, orphan):
                stays.add(orphan.path.name)
        for name in await link.instance_directories():
            known = {member.record.place for member in self._team.registry.everyone()}
            if name.startswith(SPARE_PREFIX) and name not in known | stays:
                await link.forget_instance(name)
        return not stays

    def _is_stale(self, host: str, orphan: OrphanWorktree) -> bool:
        """What is left of an instance on another host is for ``phalanx gc``."""
        name = orphan.path.name
        of_instance = bool(orphan.branch) and host != self._placement.own
        return name.startswith(SPARE_PREFIX) and name not in self._team.registry.worktree_names() and not of_instance


async def _goes(link: HostPort, orphan: OrphanWorktree) -> bool:
    """False: it is in use, or is no worktree (any more)."""
    try:
        return (await link.remove_orphan(orphan)).removed
    except WorkspaceError as error:
        logger.warning("%s cannot be cleared away: %s", orphan.path, error)
        return False


class WorktreeMaker:
    """A ``SpareMaker``. The names of its spares stand in ``Registry.spare_worktrees`` until they are bound or gone."""

    what = "spare worktree"

    def __init__(self, host: HostPort, team: Team, placement: SparePlacement, cleaner: StaleSpareCleaner) -> None:
        self._host = host
        self._names = team.registry.spare_worktrees
        self._registry = team.registry
        self._placement = placement
        self._cleaner = cleaner
        self._places: dict[str, tuple[Path, str]] = {}
        """Directory and host of each, by name."""

    def new_name(self, key: Path) -> str:
        return self._registry.next_spare()

    def obstacle(self, key: Path) -> str:
        return self._placement.obstacle

    async def look(self) -> None:
        await self._cleaner.look()

    async def make(self, name: str, key: Path) -> Spare[Path, Workspace]:
        self._names.add(name)
        try:
            self._places = {each: place for each, place in self._places.items() if each in self._names}
            there = [host for work_dir, host in self._places.values() if work_dir == key]
            place = await self._placement.for_worktree(there)
            self._places[name] = (key, place.host)
            self._placement.settle(name, place.host)
            workspace = await self._host.create_spare(name, key)
        except BaseException:
            self._names.discard(name)
            raise
        return Spare(name=name, key=key, host=place.host, content=workspace)

    async def recognise(self, spare: Spare[Path, Workspace]) -> str:
        return "it is of an earlier supervisor"

    def is_ready(self, spare: Spare[Path, Workspace]) -> bool:
        return self._placement.is_open(spare.host)

    def fault(self, spare: Spare[Path, Workspace]) -> str:
        return f"the host {spare.host} is drained or lost" if self._placement.is_closed(spare.host) else ""

    async def end(self, spare: Spare[Path, Workspace]) -> None:
        """What cannot be taken away now is nobody's, and cleared away later; on a lost host when that is back."""
        try:
            if not self._placement.is_lost(spare.host):
                await self._host.undo_workspace(spare.content)
        except PhalanxError as error:
            logger.warning("the spare worktree %s is cleared away later: %s", spare.name, error)
            self._cleaner.look_again()
        finally:
            self._names.discard(spare.name)
