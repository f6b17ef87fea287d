"""Places instances on the hosts of a cluster.

``HostScheduler`` holds the hosts, their slots and the links to them; the spawner, ``Lifecycle``, the pools,
``Failover`` and ``Drainer`` ask it. It counts slots as Ray does: each actor takes one. Spare agents take slots too, but
give way to instances. ``choose`` is the pure rule.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, PhalanxError, UnavailableError
from actors.host.host import Host
from actors.nodes import Node, slots_for
from supervisor.api.requests import SpawnRequest
from supervisor.ports import ClusterPort
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import InstanceStage, Member, Registry

logger = logging.getLogger(__name__)

FENCE_S = 45.0
"""From when an instance was heard of last until it is started elsewhere, if Ray takes its host for dead by then; from
when Ray does if this supervisor has not heard of it."""
RETURN_S = 300.0
"""From the first look, for a host that this supervisor has not seen yet: when the head comes back with a new Ray, the
other hosts join it one after the other, and their agents live."""

PLACE_S = 900.0
"""Longest that a spawn waits for room: a new machine of a cloud takes minutes."""
_LOOK_S = 2.0
_STALE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRequest:
    """What a spawn demands of its host. Empty: any host will do."""

    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        parts = [self.host, *(f"{key}={value}" for key, value in self.labels.items())]
        return ", ".join(part for part in parts if part)


class PlacementCancelledError(Exception):
    """The caller no longer needs the slot."""


@dataclass(slots=True, kw_only=True)
class Placement:
    """A slot that is promised to an instance."""

    host: str
    address: str
    own: bool
    """It is the supervisor's host."""
    wanted: PlacementRequest = field(default_factory=PlacementRequest)
    instance_id: str = ""
    """Its instance, once that is known: slot and instance count once together from then on."""


class HostScheduler:
    """The hosts of the cluster, their slots, and the links to them. All in the supervisor's event loop.

    Promises: a new instance gets a host at once when one has room; otherwise it waits and Ray's autoscaler is told. A
    host is connected to when it is first needed.
    """

    def __init__(
        self,
        own: str,
        own_host: Host,
        cluster: ClusterPort,
        registry: Registry,
        links: InstanceLinks,
        most_per_host: int = 0,
    ) -> None:
        """``own``: name of the supervisor's host. ``most_per_host``: cap on instances of one host; 0: its slots."""
        self.own = own
        self.own_host = own_host
        self._cluster = cluster
        self._registry = registry
        self._instance_links = links
        self._most = most_per_host
        self._links: dict[str, Host] = {own: own_host}
        self._connecting: dict[str, asyncio.Lock] = {}
        self.seen: tuple[Node, ...] = ()
        """The hosts as they were seen last."""
        self.names: frozenset[str] = frozenset()
        """Of the hosts as they were seen last; empty before the first look."""
        self._missing_since: dict[str, float] = {}
        """By host that was seen and is gone."""
        self._first_look_at = math.inf
        self._looked_at = -math.inf
        self._waiting = 0
        self._promised: list[Placement] = []
        self.away: set[str] = set()
        """Hosts with instances that cannot be asked just now."""
        self.drained: set[str] = set()
        self.places: dict[str, str] = {}
        """Host by name (``InstanceRecord.names``), of all that have one."""
        self.changes = ChangeNotifier()
        """Announced when a slot was promised or moved, and after each look at the hosts."""

    async def nodes(self) -> tuple[Node, ...]:
        """Raises ``UnavailableError`` when Ray does not answer."""
        if time.monotonic() - self._looked_at > _STALE_S:
            self.seen = tuple(map(self._capped, await self._cluster.nodes()))
            self._looked_at = time.monotonic()
            self._first_look_at = min(self._first_look_at, self._looked_at)
            before, self.names = self.names, frozenset(node.name for node in self.seen)
            for name in before - self.names:
                self._missing_since[name] = self._looked_at
            for name in self._missing_since.keys() & self.names:
                del self._missing_since[name]
                logger.info("the host %s is back", name)
            self.changes.announce()
        return self.seen

    def _capped(self, node: Node) -> Node:
        slots = slots_for(node.memory_bytes) if node.slots is None else node.slots
        return replace(node, slots=min(slots, self._most) if self._most else slots)

    def is_lost(self, name: str) -> bool:
        """Whether a host is not there any more. One that was not seen yet is waited for (``RETURN_S``)."""
        return self._is_missing(name, 0.0)

    def may_be_replaced(self, name: str, heard_at: float | None) -> bool:
        """Whether a host is lost and an instance of it has stopped typing by itself, if it lives.

        ``heard_at``: when this supervisor has heard of the instance last, if it has.
        """
        if heard_at is None:
            return self._is_missing(name, FENCE_S)
        return self.is_lost(name) and time.monotonic() - heard_at >= FENCE_S

    def _is_missing(self, name: str, for_s: float) -> bool:
        if not self.names or name in self.names:
            return False
        if name in self._missing_since:
            return time.monotonic() - self._missing_since[name] >= for_s
        return time.monotonic() - self._first_look_at >= RETURN_S

    def instance_hosts(self) -> Mapping[str, str]:
        """Host by instance that takes a slot now: also a starting one, and a failed one as long as its actor is there.

        Promised slots are not among them.
        """
        return {each.record.instance_id: each.record.host for each in self._registry if self._takes_slot(each)}

    def _takes_slot(self, member: Member) -> bool:
        record = member.record
        return member.alive or record.stage is InstanceStage.STARTING or self._instance_links.has(record.instance_id)

    def used(self, *, spares: bool = False) -> Counter[str]:
        """Slots that are taken or promised, by host. ``spares``: those that spare agents take, too."""
        hosts = dict(self.instance_hosts())
        if spares:
            taking = filter(self._takes_slot, self._registry.spares())
            hosts |= {each.record.instance_id: each.record.host or self.own for each in taking}
        coming = (placement.host for placement in self._promised if placement.instance_id not in hosts)
        return Counter(hosts.values()) + Counter(coming)

    def slots(self) -> Mapping[str, int]:
        """Of each host, as it was seen last."""
        return {node.name: _slots(node) for node in self.seen}

    def slots_left(self, host: str) -> int:
        """Slots of one host (empty: this one) that no instance and no spare agent takes; less than none: a spare gives
        way. One as long as the host has not been seen."""
        name, slots = host or self.own, self.slots()
        return slots[name] - self.used(spares=True)[name] if name in slots else 1

    @asynccontextmanager
    async def placed(
        self, wanted: PlacementRequest, still: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Placement]:
        """A place for a new instance, kept until the block ends; waits while all hosts that fit are full.

        Raises ``InvalidRequestError`` if none fits, ``UnavailableError`` when none has room for long, and
        ``PlacementCancelledError`` when it had to wait and is not ``still`` needed.
        """
        placement = await self._place(wanted, lambda: self.drained, still)
        try:
            yield placement
        finally:
            self._take_back(placement)

    @asynccontextmanager
    async def kept(self, instance_id: str, host: str) -> AsyncIterator[None]:
        """The slot of an instance that is started again where it was; waits while that host is full.

        Raises ``UnavailableError`` when the host is away, or has no room for long.
        """
        promised = any(placement.instance_id == instance_id for placement in self._promised)
        if promised or instance_id in self.instance_hosts():
            yield
            return
        if host and host not in {node.name for node in await self.nodes()}:
            raise UnavailableError(_away(host))
        placement = await self._place(PlacementRequest(host=host or self.own), tuple, lambda: True)
        placement.instance_id = instance_id
        try:
            yield
        finally:
            self._take_back(placement)

    async def _place(
        self, wanted: PlacementRequest, closed: Callable[[], Collection[str]], still: Callable[[], bool]
    ) -> Placement:
        """``closed``: hosts that take no instances; asked again after each wait."""
        placement = self._promise(wanted, await self.nodes(), closed())
        if placement is not None:
            return placement
        deadline = time.monotonic() + PLACE_S
        self._waiting += 1
        try:
            while placement is None:
                await self._tell_autoscaler()
                if time.monotonic() > deadline:
                    raise UnavailableError(f"No host has had room for another instance for {PLACE_S:.0f} s.")
                await asyncio.sleep(_LOOK_S)
                nodes = await self.nodes()
                if not still():
                    raise PlacementCancelledError
                placement = self._promise(wanted, nodes, closed())
        finally:
            self._waiting -= 1
            if not self._waiting:
                await self._tell_autoscaler()
        return placement

    def _promise(self, wanted: PlacementRequest, nodes: Sequence[Node], closed: Collection[str]) -> Placement | None:
        node = choose(wanted, nodes, self.used(), closed)
        if node is None:
            return None
        placement = Placement(host=node.name, address=node.address, own=node.name == self.own, wanted=wanted)
        self._promised.append(placement)
        self.changes.announce()
        return placement

    def _take_back(self, placement: Placement) -> None:
        self._promised = [each for each in self._promised if each is not placement]

    async def _tell_autoscaler(self) -> None:
        try:
            await self._cluster.want_slots(self.used().total() + self._waiting if self._waiting else 0)
        except PhalanxError as error:
            logger.warning("Ray's autoscaler was not told of %d waiting spawns: %s", self._waiting, error)

    def choices(self, placement: Placement) -> Sequence[str]:
        """Where its instance may go for the sake of what is ready there: its own host first, then others that fit it
        and leave the instances spread evenly but for one."""
        used = self.used()
        used[placement.host] -= 1
        near = nearly_as_good(placement.wanted, self.seen, used, self.drained)
        return [placement.host, *(node.name for node in near if node.name != placement.host)]

    def shift(self, placement: Placement, host: str) -> None:
        """It is on this one of its ``choices`` from now on."""
        node = next((node for node in self.seen if node.name == host), None)
        if node is not None:
            placement.host, placement.address, placement.own = node.name, node.address, node.name == self.own
            self.changes.announce()

    def lasting(self) -> list[Node]:
        """The hosts that take new instances and do not come and go: on these spares may wait."""
        return [node for node in self.seen if not node.elastic and node.name not in self.drained]

    @property
    def instances_away(self) -> list[str]:
        return [instance_id for instance_id, host in self.places.items() if host in self.away]

    def linked(self) -> Mapping[str, Host]:
        """The hosts that are connected to, this one among them. A link outlives its host."""
        return dict(self._links)

    async def link(self, name: str) -> Host:
        """The link to a host. Raises ``UnavailableError`` when Ray does not run there now."""
        async with self._connecting.setdefault(name, asyncio.Lock()):
            if name not in self._links:
                node = next((node for node in await self.nodes() if node.name == name), None)
                if node is None:
                    raise UnavailableError(_away(name))
                self._links[name] = await self._cluster.connect(node)
            return self._links[name]

    async def release_host(self, name: str) -> None:
        """Ends the team's actor on a host that has nothing of it, since Ray takes none for idle that has an actor.

        Raises ``UnavailableError`` when Ray does not answer.
        """
        async with self._connecting.setdefault(name, asyncio.Lock()):
            if self.is_empty(name):
                self._links.pop(name, None)
                await self._cluster.leave(name)

    def is_empty(self, name: str) -> bool:
        """Nothing of the team is on the host or will be, also nothing that could go on there some day."""
        coming = {placement.host for placement in self._promised}
        return name != self.own and name not in {*coming, *self.places.values()}


def _away(host: str) -> str:
    return f"The host {host} is away: Ray does not run there. See phalanx hosts."


@asynccontextmanager
async def placed(scheduler: HostScheduler | None, request: SpawnRequest) -> AsyncIterator[Placement | None]:
    """The place for the instance, kept while the block runs; None on one machine. Raises ``InvalidRequestError``."""
    if scheduler is None:
        if request.labels or request.host not in (None, socket.gethostname()):
            raise InvalidRequestError(
                f"This team is on one machine, {socket.gethostname()}: leave host and labels out. docs/cluster.md says "
                "how a team gets more of them."
            )
        yield None
        return
    host = request.host or ""
    if request.workspace_mode == "shared" and not host and not request.labels:
        host = scheduler.own  # where the directory is, unless the caller says that it is on another host, too
    async with scheduler.placed(PlacementRequest(host=host, labels=request.labels)) as placement:
        yield placement


def choose(
    wanted: PlacementRequest, nodes: Sequence[Node], used: Mapping[str, int], drained: Collection[str]
) -> Node | None:
    """The fitting host with the greatest share of free slots; None while all that fit are full.

    ``used``: instances by host. Raises ``InvalidRequestError`` when none of the hosts fits, full or not.
    """
    fitting = [node for node in nodes if _fits(node, wanted)]
    if not fitting:
        known = ", ".join(node.name for node in nodes) or "none"
        raise InvalidRequestError(f"No host of the team is {wanted.words}. There are: {known}. See phalanx hosts.")
    open_ones = [node for node in fitting if node.name not in drained]
    if not open_ones:
        which = f"Every host that is {wanted.words}" if wanted.labels else fitting[0].name
        raise InvalidRequestError(f"{which} is drained: it takes no new instances. Choose another host.")
    return most_free(open_ones, used)


def most_free(nodes: Iterable[Node], used: Mapping[str, int]) -> Node | None:
    """The one with the greatest share of free slots; None when all are full."""
    free = [node for node in nodes if _free(node, used) > 0]
    return max(free, key=lambda node: _rank(node, used), default=None)


def nearly_as_good(
    wanted: PlacementRequest, nodes: Sequence[Node], used: Mapping[str, int], drained: Collection[str]
) -> list[Node]:
    """The fitting hosts with room, best first, of which each would be the best with one instance less on it.

    So a placement on one of them for another reason leaves the spread of instances uneven by one at most.
    """
    fitting = [node for node in nodes if _fits(node, wanted) and node.name not in drained and _free(node, used) > 0]
    best = max((_free(node, used) / _slots(node) for node in fitting), default=0.0)
    near = [node for node in fitting if (_free(node, used) + 1) / _slots(node) >= best]
    return sorted(near, key=lambda node: _rank(node, used), reverse=True)


def _rank(node: Node, used: Mapping[str, int]) -> tuple[float, int, str]:
    free = _free(node, used)
    return free / _slots(node), free, node.name


def _free(node: Node, used: Mapping[str, int]) -> int:
    return _slots(node) - used.get(node.name, 0)


def _slots(node: Node) -> int:
    return node.slots or 0


def _fits(node: Node, wanted: PlacementRequest) -> bool:
    named = not wanted.host or wanted.host in (node.name, node.address)
    return named and all(node.labels.get(key) == value for key, value in wanted.labels.items())
