"""Which spares are wanted: kinds, orders, and how they are stored.

What a spare agent is made for: all that its start depends on. Only who asks for just that may have it.

How many spares of each kind are ordered and just being made, and whether making is worth a try; does nothing itself.

An order holds until it was taken from. After a failure nothing is made for a while, and the one that could not be made
is no longer ordered, so that nobody waits for it. Used by ``AgentPool`` and ``WorktreePool``.

What is to be kept ready, as it stands in the store: a supervisor that comes back goes on with it.

An order holds until it was taken from, ``phalanx down`` or the end of the machine: after a reboot nobody has asked for
it. Which kind of agent was last asked for outlives those, because the settings' spares are of that kind.

Values of environment variables may be secrets and are not stored: spares of such a kind stay, and further ones are made
when somebody asks for that kind again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import TypeAdapter

from supervisor.api.requests import SpawnRequest
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.spawning.admission import FairSemaphore
from supervisor.store import keys
from supervisor.store.base import StateStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    work_dir: Path
    agent: str
    model: str | None = None
    permission_mode: str | None = None
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.permission_mode in {None, "manual"}:  # the mode in which an agent starts that is told none
            object.__setattr__(self, "permission_mode", "default")

    @classmethod
    def of(cls, request: SpawnRequest, work_dir: Path, agent: str) -> Self | None:
        """None for what no spare is made for: an instance that shares its directory."""
        if request.workspace_mode != "isolated":
            return None
        return cls(
            work_dir=work_dir,
            agent=request.agent or agent,
            model=request.model,
            permission_mode=request.permission_mode,
            environment=tuple(sorted(request.env.items())),
        )

    @property
    def key(self) -> str:
        """Stands in records; the environment may hold secrets, which do not."""
        words = (str(self.work_dir), self.agent, self.model, self.permission_mode, self.environment)
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]


PAUSE_S = 30.0

Kind = TypeVar("Kind", bound=Hashable)


class Demand(Generic[Kind]):
    def __init__(self) -> None:
        self._ordered: Counter[Kind] = Counter()
        self._making: Counter[Kind] = Counter()
        self._paused_until = 0.0
        self._last_error = ""
        self.errors: dict[Kind, list[str]] = {}
        """Why some of the last order could not be made or kept."""
        self.taken: Counter[Kind] = Counter()
        """Of the last order, by spawns."""

    def ordered(self, kind: Kind) -> int:
        """What is still to be there: neither taken yet nor given up."""
        return self._ordered[kind]

    @property
    def orders(self) -> Mapping[Kind, int]:
        return {kind: count for kind, count in self._ordered.items() if count}

    def order(self, kind: Kind, count: int) -> None:
        """From now on there shall be ``count``; they are tried at once, whatever failed before."""
        self._ordered[kind] = count
        self._paused_until = 0.0
        self.errors[kind] = []
        self.taken[kind] = 0

    def take(self, kind: Kind) -> None:
        """Somebody has taken one."""
        self.taken[kind] += bool(self._ordered[kind])
        self._fill(kind)

    def give_up(self, kind: Kind, why: str) -> None:
        """One is not waited for any more, and none is made for a while."""
        self._last_error = why
        self._paused_until = time.monotonic() + PAUSE_S
        if self._ordered[kind]:
            self.errors.setdefault(kind, []).append(why)
        self._fill(kind)

    def _fill(self, kind: Kind) -> None:
        self._ordered[kind] = max(self._ordered[kind] - 1, 0)

    def forget(self) -> None:
        """All that is ordered."""
        self._ordered.clear()

    def missing(self, kind: Kind, wanted: int, there: int) -> int:
        """How many more are to be made now; not above 0 when there are enough."""
        return 0 if self.pause_s else wanted - there - self._making[kind]

    @property
    def pause_s(self) -> float:
        """For so long nothing is made, because of ``last_error``."""
        return max(self._paused_until - time.monotonic(), 0.0)

    @property
    def last_error(self) -> str:
        return self._last_error

    def begin(self, kind: Kind) -> None:
        """One is being made from now on, until ``made`` is left."""
        self._making[kind] += 1

    @contextmanager
    def made(self, kind: Kind) -> Iterator[None]:
        """Around the making of one that was begun."""
        try:
            yield
        except Exception as error:
            self.give_up(kind, str(error))
            raise
        finally:
            self._making[kind] -= 1


def waits_for(lacking: int, demand: Demand[Kind], permits: FairSemaphore) -> str:
    """What ``lacking`` spares wait for, in words; empty for none."""
    if not lacking:
        return ""
    if demand.pause_s:
        return f"the next try in {demand.pause_s:.0f} s: {demand.last_error}"
    if permits.urgent:
        return f"spawns of callers, which come first: {permits.urgent} run, {permits.waiting} wait"
    return f"{lacking} that are being made"


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfAgent:
    """A ``AgentSpec``, without what may not be stored."""

    work_dir: Path
    agent: str
    model: str | None
    permission_mode: str | None
    has_environment: bool

    @classmethod
    def of(cls, recipe: AgentSpec) -> KindOfAgent:
        return cls(
            work_dir=recipe.work_dir,
            agent=recipe.agent,
            model=recipe.model,
            permission_mode=recipe.permission_mode,
            has_environment=bool(recipe.environment),
        )

    @property
    def recipe(self) -> AgentSpec | None:
        """None when not all of it was stored."""
        if self.has_environment:
            return None
        return AgentSpec(
            work_dir=self.work_dir, agent=self.agent, model=self.model, permission_mode=self.permission_mode
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOrders:
    """By recipe key, and by directory."""

    kinds: Mapping[str, KindOfAgent] = field(default_factory=dict)
    """Those that the rest names."""
    current: str = ""
    """Of the kind that was last asked for."""
    agents: Mapping[str, int] = field(default_factory=dict)
    worktrees: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    boot: str
    orders: PoolOrders


_ADAPTER = TypeAdapter(_Stored)


def this_boot() -> str:
    """Another one after each reboot of the machine."""
    return _BOOT_ID.read_text().strip()


class OrderBook:
    """All in the supervisor's event loop."""

    def __init__(self, store: StateStore, boot: str) -> None:
        self._store = store
        self._boot = boot
        self._stored = PoolOrders()

    async def load(self, unreadable: Unreadable) -> PoolOrders:
        """What an earlier supervisor has stored, as far as it still holds. Raises ``StoreError``."""
        for _, found in unreadable.readable(await self._store.load(keys.POOL_ORDERS), _decode):
            self._stored = found.orders
            if found.boot != self._boot:
                return PoolOrders(kinds=found.orders.kinds, current=found.orders.current)
        return self._stored

    def lacks(self, orders: PoolOrders) -> bool:
        return orders != self._stored

    async def save(self, orders: PoolOrders) -> None:
        """Raises ``StoreError``."""
        if self.lacks(orders):
            record = encode_plain(_ADAPTER.dump_python(_Stored(boot=self._boot, orders=orders), mode="json"))
            await self._store.save({keys.POOL_ORDERS: record})
            self._stored = orders


def _decode(data: bytes) -> _Stored:
    return _ADAPTER.validate_python(decode_plain(data))
