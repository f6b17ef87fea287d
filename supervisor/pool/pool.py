"""Everything that is kept ready: spare agents, spare worktrees and, in ``Staff.stock``, spare actors.

``WarmStart`` and ``ColdStart`` take from here, the desk orders, the settings' sizes may change at any time. All in the
supervisor's event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.errors import InvalidRequestError
from actors.workspace.values import Workspace
from supervisor.performance.figures import HostPool, PoolFigures, Stock
from supervisor.pool.agents import SpareAgents
from supervisor.pool.recipe import Recipe
from supervisor.pool.seats import Seats
from supervisor.pool.stock import ActorStock
from supervisor.pool.worktrees import SpareWorktrees
from supervisor.requests import SpawnRequest
from supervisor.team.registry import Member
from supervisor.team.roll import Roll
from supervisor.tuning.values import Tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What an order has come to."""

    instances: int
    worktrees: int
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept besides spare actors, and where."""

    seats: Seats
    agents: SpareAgents
    worktrees: SpareWorktrees


class Pool:
    def __init__(self, roll: Roll, stock: ActorStock, kept: Kept, default_agent: str) -> None:
        self._roll = roll
        self._stock = stock
        self._seats = kept.seats
        self._agents = kept.agents
        self._worktrees = kept.worktrees
        self._tasks: list[asyncio.Task[None]] = []
        self.default_agent = default_agent
        self.last_work_dir: Path | None = None

    def take_agent(self, request: SpawnRequest, work_dir: Path, hosts: Sequence[str] | None) -> Member | None:
        """``hosts``: where it may be, best first; None on one machine."""
        recipe = Recipe.of(request, work_dir, self.default_agent)
        if recipe is None:
            return None
        self.last_work_dir = work_dir
        self._agents.asked_for(recipe)
        return self._agents.take(recipe, hosts)

    def reject_agent(self, spare: Member, why: str) -> None:
        self._agents.reject(spare, why)

    def take_worktree(self, work_dir: Path, host: str) -> Workspace | None:
        """``host``: where it must be; empty on one machine."""
        self._worktrees.asked_for(work_dir)
        return self._worktrees.take(work_dir, host)

    def bound(self, spare: Workspace) -> None:
        """The spare worktree belongs to an instance now."""
        self._worktrees.forget(spare)

    def reject_worktree(self, spare: Workspace, why: str) -> None:
        self._worktrees.reject(spare, why)

    def give_back(self, host: str) -> bool:
        """One spare agent of the host (empty: this one) goes, because its room is needed; False when there is none."""
        return self._agents.give_back(host)

    def look_again(self) -> None:
        """The hosts may be others, or drained."""
        if self._agents.misplaced or self._worktrees.misplaced:
            self._roll.news.announce()

    async def fill(
        self, recipe: Recipe, instances: int, worktrees: int, progress: Callable[[int], None], timeout_s: float
    ) -> Ready:
        """Orders so many and waits until they are ready or could not be made."""
        self._agents.order(recipe, instances)
        self._worktrees.order(recipe.work_dir, worktrees)

        def errors() -> list[str]:
            return [
                *self._agents.demand.errors.get(recipe.key, ()),
                *self._worktrees.demand.errors.get(recipe.work_dir, ()),
            ]

        def settled() -> bool:
            ready = (len(self._agents.ready(recipe.key)), self._worktrees.ready(recipe.work_dir))
            progress(min(ready[0], instances) + min(ready[1], worktrees))
            missing = max(instances - ready[0], 0) + max(worktrees - ready[1], 0)
            return missing <= len(errors())

        await self._roll.news.until(settled, timeout_s)
        return Ready(
            instances=len(self._agents.ready(recipe.key)),
            worktrees=self._worktrees.ready(recipe.work_dir),
            errors=tuple(dict.fromkeys(errors())),
        )

    def work_dir(self, given: Path | None) -> Path:
        """The directory given, or the one last worked on. Raises ``InvalidRequestError`` when there is none."""
        found = given or self.last_work_dir
        if found is None:
            raise InvalidRequestError("No instance has worked anywhere yet: give workDir, the directory to prepare.")
        return found

    def tuned(self, _before: Tuning, after: Tuning) -> None:
        self._agents.resize(after.prewarm_instances)
        self._worktrees.resize(after.worktree_pool_size)

    @property
    def figures(self) -> PoolFigures:
        return PoolFigures(
            instances=Stock(ready=len(self._agents.ready()), wanted=self._agents.size),
            worktrees=Stock(ready=self._worktrees.ready(), wanted=self._worktrees.size),
            actors=Stock(ready=self._stock.ready, wanted=self._stock.size),
            hosts=self._by_host(),
        )

    def _by_host(self) -> dict[str, HostPool]:
        agents = Counter(spare.record.host for spare in self._agents.ready())
        worktrees, actors = self._worktrees.hosts, self._stock.there
        return {
            name: HostPool(instances=agents[name], worktrees=worktrees[name], actors=actors[address])
            for address, name in self._seats.names.items()
        }

    def begin(self) -> None:
        self._stock.begin(self._roll.confirm)
        self._tasks = [asyncio.create_task(each.keep()) for each in (self._agents, self._worktrees)]

    async def end(self) -> None:
        """What is ready stays for the next supervisor."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._agents.end()
        await self._worktrees.end()
        await self._stock.end()

    async def give_up(self) -> None:
        """For the team's own end: nothing is kept any more."""
        await self._agents.give_up()
        await self._worktrees.give_up()
