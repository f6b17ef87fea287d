"""What is to be kept ready, as it stands in the store: a supervisor that comes back goes on with it.

An order holds until it was taken from, ``phalanx down`` or the end of the machine: after a reboot nobody has asked for
it. Which kind of agent was last asked for outlives those, because the settings' spares are of that kind.

Values of environment variables may be secrets and are not stored: spares of such a kind stay, and further ones are made
when somebody asks for that kind again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from supervisor.pool.recipe import Recipe
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore

logger = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfAgent:
    """A ``Recipe``, without what may not be stored."""

    work_dir: Path
    agent: str
    model: str | None
    permission_mode: str | None
    has_environment: bool

    @classmethod
    def of(cls, recipe: Recipe) -> KindOfAgent:
        return cls(
            work_dir=recipe.work_dir,
            agent=recipe.agent,
            model=recipe.model,
            permission_mode=recipe.permission_mode,
            has_environment=bool(recipe.environment),
        )

    @property
    def recipe(self) -> Recipe | None:
        """None when not all of it was stored."""
        if self.has_environment:
            return None
        return Recipe(work_dir=self.work_dir, agent=self.agent, model=self.model, permission_mode=self.permission_mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
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
    orders: Orders


_ADAPTER = TypeAdapter(_Stored)


def this_boot() -> str:
    """Another one after each reboot of the machine."""
    return _BOOT_ID.read_text().strip()


class OrderBook:
    """All in the supervisor's event loop."""

    def __init__(self, store: StateStore, boot: str) -> None:
        self._store = store
        self._boot = boot
        self._stored = Orders()

    async def load(self, unreadable: Unreadable) -> Orders:
        """What an earlier supervisor has stored, as far as it still holds. Raises ``StoreError``."""
        for _, found in unreadable.readable(await self._store.load(keys.POOL_ORDERS), _decode):
            self._stored = found.orders
            if found.boot != self._boot:
                return Orders(kinds=found.orders.kinds, current=found.orders.current)
        return self._stored

    def lacks(self, orders: Orders) -> bool:
        return orders != self._stored

    async def save(self, orders: Orders) -> None:
        """Raises ``StoreError``."""
        if self.lacks(orders):
            record = encode_plain(_ADAPTER.dump_python(_Stored(boot=self._boot, orders=orders), mode="json"))
            await self._store.save({keys.POOL_ORDERS: record})
            self._stored = orders


def _decode(data: bytes) -> _Stored:
    return _ADAPTER.validate_python(decode_plain(data))
