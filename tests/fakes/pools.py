"""Three hosts on which spares may be, which come and go as the test says, and pools that run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, cast

from actors.errors import UnavailableError
from actors.host.host import Host
from supervisor.pool.placement import SparePlace, SparePlacement
from supervisor.pool.pool import Pool
from supervisor.spawning.admission import MemoryAdmission
from tests.fakes.hosts import FakeHost


class FakePlacement(SparePlacement):
    """The hosts ``a``, which is the supervisor's own, ``b`` and ``c``. Spares go where fewest were placed."""

    own = "a"
    names = frozenset("abc")

    def __init__(self) -> None:
        super().__init__(cast("Host", None), cast("MemoryAdmission", None), None)
        self.hosts = {name: FakeHost(name) for name in sorted(self.names)}
        self.there = list(self.hosts)
        self.drained: set[str] = set()
        self.placed: Counter[str] = Counter()
        self.settled: dict[str, str] = {}

    @property
    def linked(self) -> frozenset[str]:
        return frozenset(self.there)

    async def for_agent(self, agent: str) -> SparePlace:
        return self._next(self.placed)

    async def for_worktree(self, there: Callable[[], Collection[str]]) -> SparePlace:
        await asyncio.sleep(0)  # the real one looks at the hosts here
        return self._next(Counter(there()))

    def _next(self, used: Counter[str]) -> SparePlace:
        free = [host for host in self.there if host not in self.drained]
        if not free:
            raise UnavailableError("no host has room")
        host = min(free, key=lambda each: used[each])
        self.placed[host] += 1
        return SparePlace(host=host, address="" if host == self.own else host)

    def is_open(self, host: str) -> bool:
        return host in self.there and host not in self.drained

    def is_closed(self, host: str) -> bool:
        return host in self.drained or self.is_lost(host)

    def is_lost(self, host: str) -> bool:
        return host not in self.there

    def settle(self, name: str, host: str) -> None:
        self.settled[name] = host

    def forget(self, name: str) -> None:
        self.settled.pop(name, None)

    async def link(self, host: str) -> Host:
        return self.hosts[host]


@asynccontextmanager
async def maintained(pool: Pool[Any, Any]) -> AsyncIterator[None]:
    """Inside, spares are made, ended and cleared away as in a team that runs."""
    keeping = asyncio.create_task(pool.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await pool.end()
