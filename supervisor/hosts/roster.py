"""Which hosts there are, how full they are, and the ways to them.

Promises: a new instance gets a host at once when one has room, else it waits and Ray's autoscaler is told; a host is
connected to when it is first needed. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from actors.errors import PhalanxError, UnavailableError
from actors.nodes import Node
from supervisor.hosts.placing import Wanted, choose
from supervisor.hosts.ports import ClusterPort, FullHost
from supervisor.ray_node.slots import slots_for

logger = logging.getLogger(__name__)

PLACE_S = 900.0
"""Longest that a spawn waits for room: a new machine of a cloud takes minutes."""
_LOOK_S = 2.0
_STALE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a new instance goes."""

    host: str
    address: str
    own: bool
    """It is the supervisor's host."""


class Roster:
    def __init__(self, own: str, own_host: FullHost, cluster: ClusterPort, most_per_host: int) -> None:
        """``own``: name of the supervisor's host. ``most_per_host``: cap on instances of one host; 0: its slots."""
        self.own = own
        self._cluster = cluster
        self._most = most_per_host
        self._links: dict[str, FullHost] = {own: own_host}
        self._connecting: dict[str, asyncio.Lock] = {}
        self._nodes: tuple[Node, ...] = ()
        self._looked_at = 0.0
        self._waiting = 0
        self._promised: Counter[str] = Counter()
        self.away: set[str] = set()
        """Hosts with instances that cannot be asked just now."""
        self.drained: set[str] = set()
        self.places: dict[str, str] = {}
        """Host by instance, of all that have one."""
        self.counted: Callable[[], Mapping[str, int]] = lambda: Counter(self.places.values())
        """Instances by host that take a slot now, without those that are only promised one."""

    async def nodes(self) -> tuple[Node, ...]:
        """Raises ``UnavailableError`` when Ray does not answer."""
        if time.monotonic() - self._looked_at > _STALE_S:
            self._nodes = tuple(map(self._capped, await self._cluster.nodes()))
            self._looked_at = time.monotonic()
        return self._nodes

    def _capped(self, node: Node) -> Node:
        slots = slots_for(node.memory_bytes) if node.slots is None else node.slots
        return replace(node, slots=min(slots, self._most) if self._most else slots)

    @asynccontextmanager
    async def placed(self, wanted: Wanted) -> AsyncIterator[Placement]:
        """A place for a new instance, kept until the block ends; waits while all hosts that fit are full.

        Raises ``InvalidRequestError`` if none fits, ``UnavailableError`` when none has room for long.
        """
        node = await self._place(wanted)
        try:
            yield Placement(host=node.name, address=node.address, own=node.name == self.own)
        finally:
            self._promised[node.name] -= 1

    async def _place(self, wanted: Wanted) -> Node:
        node = self._promise(wanted, await self.nodes())
        if node is not None:
            return node
        deadline = time.monotonic() + PLACE_S
        self._waiting += 1
        try:
            while node is None:
                await self._tell_autoscaler()
                if time.monotonic() > deadline:
                    raise UnavailableError(f"No host has had room for another instance for {PLACE_S:.0f} s.")
                await asyncio.sleep(_LOOK_S)
                node = self._promise(wanted, await self.nodes())
        finally:
            self._waiting -= 1
            if not self._waiting:
                await self._tell_autoscaler()
        return node

    def _promise(self, wanted: Wanted, nodes: Sequence[Node]) -> Node | None:
        node = choose(wanted, nodes, Counter(self.counted()) + self._promised, self.drained)
        if node is not None:
            self._promised[node.name] += 1
        return node

    async def _tell_autoscaler(self) -> None:
        try:
            taken = sum(self.counted().values()) + self._promised.total()
            await self._cluster.want_slots(taken + self._waiting if self._waiting else 0)
        except PhalanxError as error:
            logger.warning("Ray's autoscaler was not told of %d waiting spawns: %s", self._waiting, error)

    @property
    def instances_away(self) -> list[str]:
        return [instance_id for instance_id, host in self.places.items() if host in self.away]

    def own_link(self) -> FullHost:
        return self._links[self.own]

    def linked(self) -> Mapping[str, FullHost]:
        """The hosts that are connected to, this one among them."""
        return dict(self._links)

    async def link(self, name: str) -> FullHost:
        """The way to a host. Raises ``UnavailableError`` when Ray does not run there now."""
        turn = self._connecting.setdefault(name, asyncio.Lock())
        async with turn:
            if name not in self._links:
                node = next((node for node in await self.nodes() if node.name == name), None)
                if node is None:
                    raise UnavailableError(f"The host {name} is away: Ray does not run there. See phalanx hosts.")
                self._links[name] = await self._cluster.connect(node)
            return self._links[name]
