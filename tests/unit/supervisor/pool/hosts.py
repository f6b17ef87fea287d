"""Three hosts on which spares may be; a ``Seats`` whose hosts come and go as the test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from actors.errors import UnavailableError
from supervisor.pool.seats import Seat


class Hosts:
    own = "a"
    names: Mapping[str, str] = {"": "a", "1": "b", "2": "c"}

    def __init__(self) -> None:
        self.there = ["a", "b", "c"]
        self.drained: set[str] = set()
        self.programs: dict[str, str] = {}
        self.placed: Counter[str] = Counter()
        self.settled: dict[str, str] = {}

    @property
    def linked(self) -> frozenset[str]:
        return frozenset(self.there)

    async def for_agent(self, agent: str) -> Seat:
        return self._next(self.placed)

    async def for_worktree(self, there: Collection[str]) -> Seat:
        return self._next(Counter(there))

    def _next(self, used: Counter[str]) -> Seat:
        free = [host for host in self.there if host not in self.drained]
        if not free:
            raise UnavailableError("no host has room")
        host = min(free, key=lambda each: used[each])
        self.placed[host] += 1
        return Seat(host=host, address="" if host == self.own else host)

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

    async def program(self, host: str, agent: str) -> str:
        return self.programs.get(host, "")
