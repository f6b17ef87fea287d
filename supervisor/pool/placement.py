"""Chooses the host of the next spare, and says which hosts may have spares at all.

In a cluster a spare is made where the next spawn would be placed if all spares were instances, so they spread as
instances do. A drained or lost host has none from that moment: its spares are not handed out. Those of a drained host
are ended. Those of a lost host are forgotten, and cleared away when it is back. An elastic host gets none, since it
would never be idle. The makers of spares and the pools call it, in the supervisor's event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from actors.concurrency import ChangeNotifier
from actors.errors import UnavailableError
from actors.host.host import Host
from actors.nodes import Node
from supervisor.cluster.scheduler import HostScheduler
from supervisor.spawning.admission import MemoryAdmission


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
    """On one machine."""

    def __init__(self, host: Host, memory: MemoryAdmission) -> None:
        self._host = host
        self._memory = memory
        self.changes = ChangeNotifier()
        """Announced when hosts or their slots may have changed."""

    @property
    def own(self) -> str:
        """The supervisor's host; empty on one machine."""
        return ""

    @property
    def linked(self) -> frozenset[str]:
        """The hosts that can be asked."""
        return frozenset({""})

    @property
    def obstacle(self) -> str:
        """Why nothing can be made now. While the hosts come back nothing is tried: a failure would use up an order."""
        return "" if self.linked else "the hosts, which are just coming back"

    @property
    def names(self) -> Mapping[str, str]:
        """The names of the hosts by address, which is empty for the supervisor's own; none on one machine."""
        return {}

    def actor_room(self, most: int) -> Mapping[str, int]:
        """How many spare actors each host may have, by its address."""
        return {"": most}

    async def for_agent(self, agent: str) -> SparePlace:
        """Raises ``UnavailableError`` when no host has room. Register the spare there before the next await."""
        if not await self._memory.fits(agent):
            raise UnavailableError("There is no memory for a spare agent just now.")
        return SparePlace()

    async def for_worktree(self, there: Callable[[], Collection[str]]) -> SparePlace:
        """``there``: the hosts of the spares that the same directory has by then, because several are placed at a time.

        Register the spare there before the next await.
        """
        return SparePlace()

    def is_open(self, host: str) -> bool:
        """Whether spares there may be handed out."""
        return True

    def is_closed(self, host: str) -> bool:
        """Whether spares there have to end. A host that was not seen yet is neither open nor closed for a while."""
        return False

    def is_lost(self, host: str) -> bool:
        """Whether the host cannot be asked to remove anything."""
        return False

    def settle(self, name: str, host: str) -> None:
        """From now on calls about the spare ``name`` go to the host."""

    def forget(self, name: str) -> None:
        """Calls about the spare ``name`` go to no particular host any more."""

    async def link(self, host: str) -> Host:
        """Raises ``UnavailableError`` when Ray does not run there now."""
        return self._host


class ClusterPlacement(SparePlacement):
    def __init__(self, host: Host, memory: MemoryAdmission, scheduler: HostScheduler) -> None:
        super().__init__(host, memory)
        self._scheduler = scheduler
        self.changes = scheduler.changes

    @property
    def own(self) -> str:
        return self._scheduler.own

    @property
    def linked(self) -> frozenset[str]:
        return self._scheduler.names & self._scheduler.linked().keys()

    @property
    def names(self) -> Mapping[str, str]:
        return {self._address(node): node.name for node in self._scheduler.seen}

    def actor_room(self, most: int) -> Mapping[str, int]:
        free = self._scheduler.free_slots()
        return {
            self._address(node): min(most, free[node.name])
            for node in self._scheduler.seen
            if not node.elastic and node.name not in self._scheduler.drained
        }

    async def for_agent(self, agent: str) -> SparePlace:
        await self._scheduler.nodes()
        besides = () if await self._memory.fits(agent) else (self.own,)
        return self._place(self._scheduler.used(spares=True), besides)

    async def for_worktree(self, there: Callable[[], Collection[str]]) -> SparePlace:
        await self._scheduler.nodes()
        return self._place(self._scheduler.used() + Counter(there()), ())

    def _place(self, used: Mapping[str, int], besides: Collection[str]) -> SparePlace:
        node = self._scheduler.most_free(used, besides)
        if node is None:
            raise UnavailableError("No host has room for another spare just now.")
        return SparePlace(host=node.name, address=self._address(node))

    def _address(self, node: Node) -> str:
        return "" if node.name == self.own else node.address

    def is_open(self, host: str) -> bool:
        return host in self._scheduler.names and host not in self._scheduler.drained

    def is_closed(self, host: str) -> bool:
        return host in self._scheduler.drained or self.is_lost(host)

    def is_lost(self, host: str) -> bool:
        return self._scheduler.is_lost(host)

    def settle(self, name: str, host: str) -> None:
        self._scheduler.places[name] = host

    def forget(self, name: str) -> None:
        self._scheduler.places.pop(name, None)

    async def link(self, host: str) -> Host:
        return await self._scheduler.link(host)
