"""Spare worktrees: checked out, and bound to an instance when it starts. The key is the directory that is worked on.

They are known in memory only. ``StaleSpareCleaner`` removes those that an earlier supervisor left, and those on a host
that comes back: a new one is made in a moment. For the same reason one is taken on its own host only. All of it runs in
the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from actors.backoff import Backoff, RetrySchedule
from actors.errors import PhalanxError, WorkspaceError
from actors.host.host import Host
from actors.worktrees.model import OrphanWorktree, Workspace
from supervisor.api.results import SPARE_PREFIX
from supervisor.pool.placement import SparePlacement
from supervisor.pool.pool import EVERY_S, Spare, SpareMaker
from supervisor.team.team import Team

logger = logging.getLogger(__name__)
_RETRY = Backoff(first_s=20.0, longest_s=1800.0)


class WorktreeMaker(SpareMaker[Path, Workspace]):
    """Keeps the names of its spares in ``Registry.spare_worktrees`` until they are bound or gone."""

    what = "spare worktree"

    def __init__(self, host: Host, team: Team, placement: SparePlacement) -> None:
        self._host = host
        self._names = team.registry.spare_worktrees
        self._registry = team.registry
        self._placement = placement
        self._places: dict[str, tuple[Path, str]] = {}
        """Directory and host of each, by name."""

    def new_name(self, key: Path) -> str:
        return self._registry.next_spare()

    def obstacle(self, key: Path) -> str:
        return self._placement.obstacle

    async def make(self, name: str, key: Path) -> Spare[Path, Workspace]:
        self._names.add(name)
        try:
            self._places = {each: place for each, place in self._places.items() if each in self._names}
            place = await self._placement.for_worktree(
                lambda: [host for work_dir, host in self._places.values() if work_dir == key]
            )
            self._places[name] = (key, place.host)
            self._placement.settle(name, place.host)
            workspace = await self._host.create_spare(name, key)
        except BaseException:
            self._names.discard(name)
            raise
        return Spare(name=name, key=key, host=place.host, content=workspace)

    def is_ready(self, spare: Spare[Path, Workspace]) -> bool:
        return self._placement.is_open(spare.host)

    def fault(self, spare: Spare[Path, Workspace]) -> str:
        return f"the host {spare.host} is drained or lost" if self._placement.is_closed(spare.host) else ""

    async def end(self, spare: Spare[Path, Workspace]) -> None:
        """A worktree on a lost host is removed by ``StaleSpareCleaner`` when the host is back."""
        if not self._placement.is_lost(spare.host):
            await self._host.undo_workspace(spare.content)
        self._names.discard(spare.name)


class StaleSpareCleaner:
    """Removes agents' directories and worktrees of spares that no pool knows from the hosts.

    Each host is cleared once while it is there. One that does not answer, or on which something stays, is tried again
    after growing pauses. While a record cannot be read nothing is cleared: its instance may have been a spare.
    """

    def __init__(self, team: Team, placement: SparePlacement) -> None:
        self._team = team
        self._placement = placement
        self._cleared: set[str] = set()
        self._tries = RetrySchedule[str](_RETRY)

    async def keep(self) -> None:
        while True:
            self._cleared &= self._placement.linked
            now = asyncio.get_running_loop().time()
            due = [host for host in self._placement.linked - self._cleared if self._tries.may(host, now)]
            if not self._team.unreadable.instance_ids:
                await asyncio.gather(*map(self._try_to_clear, due))
            await self._placement.changes.next(EVERY_S)

    async def _try_to_clear(self, host: str) -> None:
        try:
            async with asyncio.timeout(EVERY_S):
                cleared = await self._clear(host)
        except (PhalanxError, TimeoutError) as error:
            where = f" on {host}" if host else ""
            logger.warning("what is left of spares%s cannot be cleared away now: %s", where, error or "no answer")
            cleared = False
        if cleared:
            self._cleared.add(host)
            self._tries.worked(host)
        else:
            self._tries.failed(host, asyncio.get_running_loop().time())

    async def _clear(self, host: str) -> bool:
        """Whether nothing stale stays."""
        link = await self._placement.link(host)
        stays = set()
        for orphan in await link.orphans(self._team.registry.worktree_names()):
            if self._is_stale(host, orphan) and not await _remove(link, orphan):
                stays.add(orphan.path.name)
        for name in await link.instance_directories():
            known = {member.record.place for member in self._team.registry.everyone()}
            if name.startswith(SPARE_PREFIX) and name not in known | stays:
                await link.forget_instance(name)
        return not stays

    def _is_stale(self, host: str, orphan: OrphanWorktree) -> bool:
        """A worktree that an instance has left on another host is not: ``phalanx gc`` removes it."""
        name = orphan.path.name
        of_instance = bool(orphan.branch) and host != self._placement.own
        return name.startswith(SPARE_PREFIX) and name not in self._team.registry.worktree_names() and not of_instance


async def _remove(link: Host, orphan: OrphanWorktree) -> bool:
    """False when it is in use, or no worktree (any more)."""
    try:
        return (await link.remove_orphan(orphan)).removed
    except WorkspaceError as error:
        logger.warning("%s cannot be cleared away: %s", orphan.path, error)
        return False
