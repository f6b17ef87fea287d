"""Three hosts on which spares may be, which come and go as the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.errors import UnavailableError
from actors.worktrees.model import OrphanWorktree, RemovalResult
from supervisor.pool.placement import SparePlace, SparePlacement
from supervisor.pool.pool import Pool


class Machine:
    """One of them."""

    def __init__(self, name: str, programs: Mapping[str, str]) -> None:
        self.name_ = name
        self._programs = programs
        self.silent = False
        self.in_use = False
        self.left: list[tuple[str, str | None]] = []
        """Worktrees, with the branch that each was bound to."""
        self.directories: list[str] = []
        self.deeds: list[str] = []

    async def program(self, agent: str) -> str:
        return self._programs.get(self.name_, "")

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        self.deeds.append("look")
        if self.silent:
            await asyncio.sleep(20)
            raise UnavailableError("the host does not answer")
        return tuple(
            OrphanWorktree(
                path=Path("/w") / name, git_directory=None, branch=branch, unfinished=False, state="", age_s=1.0
            )
            for name, branch in self.left
            if name not in known
        )

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        self.deeds.append(f"collect {orphan.path.name}")
        if not self.in_use:
            self.left = [each for each in self.left if each[0] != orphan.path.name]
        return RemovalResult(removed=not self.in_use, kept_reason=None, branch_deleted=True)

    async def instance_directories(self) -> tuple[str, ...]:
        return tuple(self.directories)

    async def forget_instance(self, name: str) -> None:
        self.directories.remove(name)


class Hosts(SparePlacement):
    own = "a"
    names: Mapping[str, str] = {"": "a", "1": "b", "2": "c"}

    def __init__(self) -> None:
        nothing: Any = None
        super().__init__(nothing, nothing)
        self.there = ["a", "b", "c"]
        self.drained: set[str] = set()
        self.programs: dict[str, str] = {}
        self.machines = {name: Machine(name, self.programs) for name in self.there}
        self.placed: Counter[str] = Counter()
        self.settled: dict[str, str] = {}

    @property
    def linked(self) -> frozenset[str]:
        return frozenset(self.there)

    async def for_agent(self, agent: str) -> SparePlace:
        return self._next(self.placed)

    async def for_worktree(self, there: Callable[[], Collection[str]]) -> SparePlace:
        await asyncio.sleep(0)  # the hosts are looked at
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

    async def link(self, host: str) -> Any:
        return self.machines[host]


@asynccontextmanager
async def kept(pool: Pool[Any, Any]) -> AsyncIterator[None]:
    """Inside, spares are made, ended and cleared away as in a team that runs."""
    keeping = asyncio.create_task(pool.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await pool.end()
