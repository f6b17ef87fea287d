"""Chooses the host of the next spare, says which hosts may have spares at all, and clears away those nobody knows.

In a cluster a spare is made where the next spawn would be placed if all spares were instances, so they spread as
instances do. A drained or lost host has none from that moment: its spares are not handed out. Those of a drained host
are ended. Those of a lost host are forgotten, and ``StaleSpareCleaner`` removes them when it is back. An elastic host
gets none, since it would never be idle. All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import ChangeNotifier
from actors.errors import PhalanxError, UnavailableError, WorkspaceError
from actors.host.host import Host
from actors.nodes import Node
from actors.worktrees.model import OrphanWorktree
from supervisor.api.results import SPARE_PREFIX
from supervisor.cluster.scheduler import HostScheduler, most_free
from supervisor.pool.pool import EVERY_S
from supervisor.spawning.admission import MemoryAdmission
from supervisor.team.team import Team

logger = logging.getLogger(__name__)
_CLEAR_AGAIN = Backoff(first_s=20.0, longest_s=1800.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparePlace:
    host: str = ""
    """Empty on one machine."""
    address: str = ""
    """Empty for the supervisor's own host."""

    @property
    def elsewhere(self) -> str:
        """The host if it is not the supervisor's own; else empty."""
        return self.host if self.address else ""


class SparePlacement:
    def __init__(self, host: Host, memory: MemoryAdmission, scheduler: HostScheduler | None) -> None:
        """``scheduler``: the hosts of a cluster; None on one machine, whose host has an empty name here."""
        self._host = host
        self._memory = memory
        self._scheduler = scheduler
        self.changes = scheduler.changes if scheduler else ChangeNotifier()
        """Announced when hosts or their slots may have changed."""

    @property
    def own(self) -> str:
        """The supervisor's host."""
        return self._scheduler.own if self._scheduler else ""

    @property
    def linked(self) -> frozenset[str]:
        """The hosts that can be asked."""
        if self._scheduler is None:
            return frozenset({""})
        return self._scheduler.names & self._scheduler.linked().keys()

    @property
    def obstacle(self) -> str:
        """Why nothing can be made now. While the hosts come back nothing is tried: a failure would use up an order."""
        return "" if self.linked else "the hosts, which are just coming back"

    @property
    def names(self) -> frozenset[str]:
        """The hosts as they were seen last; none on one machine."""
        return self._scheduler.names if self._scheduler else frozenset()

    async def for_agent(self, agent: str) -> SparePlace:
        """Raises ``UnavailableError`` when no host has room. Register the spare there before the next await."""
        if self._scheduler is None:
            if not await self._memory.fits(agent):
                raise UnavailableError("There is no memory for a spare agent just now.")
            return SparePlace()
        await self._scheduler.nodes()
        fits_here = await self._memory.fits(agent)
        nodes = [node for node in self._scheduler.lasting() if fits_here or node.name != self.own]
        return self._most_free(nodes, self._scheduler.used(spares=True))

    async def for_worktree(self, there: Callable[[], Collection[str]]) -> SparePlace:
        """``there``: the hosts of the spares that the same directory has by then, because several are placed at a time.

        Register the spare there before the next await.
        """
        if self._scheduler is None:
            return SparePlace()
        await self._scheduler.nodes()
        return self._most_free(self._scheduler.lasting(), self._scheduler.used() + Counter(there()))

    def _most_free(self, nodes: Sequence[Node], used: Mapping[str, int]) -> SparePlace:
        node = most_free(nodes, used)
        if node is None:
            raise UnavailableError("No host has room for another spare just now.")
        return SparePlace(host=node.name, address="" if node.name == self.own else node.address)

    def is_open(self, host: str) -> bool:
        """Whether spares there may be handed out."""
        scheduler = self._scheduler
        return scheduler is None or (host in scheduler.names and host not in scheduler.drained)

    def is_closed(self, host: str) -> bool:
        """Whether spares there have to end. A host that was not seen yet is neither open nor closed for a while."""
        return self._scheduler is not None and (host in self._scheduler.drained or self.is_lost(host))

    def is_lost(self, host: str) -> bool:
        """Whether the host cannot be asked to remove anything."""
        return self._scheduler is not None and self._scheduler.is_lost(host)

    def settle(self, name: str, host: str) -> None:
        """From now on calls about the spare ``name`` go to the host."""
        if self._scheduler is not None:
            self._scheduler.places[name] = host

    def forget(self, name: str) -> None:
        """Calls about the spare ``name`` go to no particular host any more."""
        if self._scheduler is not None:
            self._scheduler.places.pop(name, None)

    async def link(self, host: str) -> Host:
        """Raises ``UnavailableError`` when Ray does not run there now."""
        return await self._scheduler.link(host) if self._scheduler else self._host


class StaleSpareCleaner:
    """Removes agents' directories and worktrees of spares that no pool knows from the hosts.

    Each host is cleared once while it is there. One that does not answer, or on which something stays, is tried again
    after growing pauses. While a record cannot be read nothing is cleared: its instance may have been a spare.
    """

    def __init__(self, team: Team, placement: SparePlacement) -> None:
        self._team = team
        self._placement = placement
        self._cleared: set[str] = set()
        self._tries = RetrySchedule[str](_CLEAR_AGAIN)

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
