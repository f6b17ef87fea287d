"""The pool's orders in the store, so that a supervisor that comes back goes on with them. ``Pools`` calls
``OrderBook``.

An order holds until spawns have taken it, until ``phalanx down``, or until the machine reboots: after a reboot nobody
has asked for it. The kind of agent that was last asked for outlives those, because the settings' spares are of that
kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from supervisor.pool.agents import AgentSpec
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOrders:
    kinds: Mapping[str, AgentSpec] = field(default_factory=dict)
    """By key. Values of environment variables may be secrets and are not stored."""
    current: str = ""
    """The key of the kind that was last asked for."""
    agents: Mapping[str, int] = field(default_factory=dict)
    """How many are ordered, by key."""
    worktrees: Mapping[str, int] = field(default_factory=dict)
    """How many are ordered, by directory."""


def this_boot() -> str:
    """An id that changes with each reboot of the machine."""
    return _BOOT_ID.read_text().strip()


class OrderBook:
    def __init__(self, store: StateStore, boot: str) -> None:
        self._store = store
        self._boot = boot
        self._stored = PoolOrders()

    async def load(self, unreadable: Unreadable) -> PoolOrders:
        """The orders that still hold of those that an earlier supervisor stored. Raises ``StoreError``."""
        for _, found in unreadable.readable(await self._store.load(keys.POOL_ORDERS), _decode):
            self._stored = found.orders
            if found.boot != self._boot:
                return PoolOrders(kinds=found.orders.kinds, current=found.orders.current)
        return self._stored

    def lacks(self, orders: PoolOrders) -> bool:
        """Whether the store has others."""
        return orders != self._stored

    async def save(self, orders: PoolOrders) -> None:
        """Raises ``StoreError``."""
        if self.lacks(orders):
            record = encode_plain(_ADAPTER.dump_python(_Stored(boot=self._boot, orders=orders), mode="json"))
            await self._store.save({keys.POOL_ORDERS: record})
            self._stored = orders


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    boot: str
    orders: PoolOrders


_ADAPTER = TypeAdapter(_Stored)


def _decode(data: bytes) -> _Stored:
    return _ADAPTER.validate_python(decode_plain(data))
