"""All that is kept ready, and the verb ``prewarm_resources``.

Everything that is kept ready: spare agents, spare worktrees and, in ``Staff.stock``, spare actors.

``WarmStart`` and ``ColdStart`` take from here, the service orders, the settings' sizes may change at any time. All in
the supervisor's event loop.

The pool as a subject of the supervisor: ``prewarm_resources``, and its begin and end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.errors import FencedError, InvalidRequestError, PhalanxError, StoreError
from actors.worktrees.model import Workspace
from supervisor.api.requests import PrewarmRequest, SpawnRequest
from supervisor.api.results import PrewarmResult
from supervisor.api.verbs import Caller, Handler
from supervisor.metrics.snapshot import HostPool, PoolSnapshot, SpareCount
from supervisor.pool.actors import ActorPool
from supervisor.pool.agents import AgentPool
from supervisor.pool.demand import AgentSpec, OrderBook, PoolOrders
from supervisor.pool.placement import SparePlacement
from supervisor.pool.worktrees import WorktreePool
from supervisor.settings.live import TunableValues
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_STORE_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderProgress:
    """What an order has come to. ``taken``: agents and worktrees that spawns have taken of it meanwhile."""

    instances: int
    worktrees: int
    taken: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SparePools:
    """What is kept besides spare actors, and where."""

    placement: SparePlacement
    agents: AgentPool
    worktrees: WorktreePool


class Pool:
    def __init__(
        self, team: Team, actor_pool: ActorPool, kept: SparePools, book: OrderBook, default_agent: str
    ) -> None:
        self._team = team
        self._actor_pool = actor_pool
        self._placement = kept.placement
        self._agents = kept.agents
        self._worktrees = kept.worktrees
        self._book = book
        self._tasks: list[asyncio.Task[None]] = []
        self.default_agent = default_agent

    def take_agent(self, request: SpawnRequest, work_dir: Path, hosts: Sequence[str] | None) -> Member | None:
        """``hosts``: where it may be, best first; None on one machine."""
        recipe = AgentSpec.of(request, work_dir, self.default_agent)
        return None if recipe is None else self._agents.take(recipe, hosts)

    def reject_agent(self, spare: Member, why: str) -> None:
        self._agents.reject(spare, why)

    def take_worktree(self, work_dir: Path, host: str) -> Workspace | None:
        """``host``: where it must be; empty on one machine."""
        return self._worktrees.take(work_dir, host)

    def works(self, request: SpawnRequest, work_dir: Path, workspace: Workspace) -> None:
        """An instance that starts cold has its workspace: it may have been a spare one, and the next may be like it."""
        self._worktrees.forget(workspace)
        recipe = AgentSpec.of(request, work_dir, self.default_agent)
        if recipe is not None:
            self._agents.asked_for(recipe)
            self._worktrees.asked_for(work_dir)

    def reject_worktree(self, spare: Workspace, why: str) -> None:
        self._worktrees.reject(spare, why)

    def give_back(self, host: str) -> bool:
        """One spare agent of the host (empty: this one) goes, because its room is needed; False when there is none."""
        return self._agents.give_back(host)

    def look_again(self) -> None:
        """The hosts may be others, or drained."""
        if self._agents.misplaced or self._worktrees.misplaced:
            self._team.changes.announce()

    async def fill(
        self,
        recipe: AgentSpec,
        instances: int | None,
        worktrees: int | None,
        progress: Callable[[int, str], None],
        timeout_s: float,
    ) -> OrderProgress:
        """Orders so many, and waits until each of them is ready, was taken or could not be made.

        None leaves those of its kind as they are. Raises ``StoreError`` when the order cannot be kept.
        """
        key, work_dir = recipe.key, recipe.work_dir
        if instances is not None:
            self._agents.order(recipe, instances)
        if worktrees is not None:
            self._worktrees.order(work_dir, worktrees)
        await self._book.save(self._orders)
        total = (instances or 0) + (worktrees or 0)

        def lacking() -> tuple[int, int]:
            agents = self._agents.lacking(key) if instances is not None else 0
            return agents, self._worktrees.lacking(work_dir) if worktrees is not None else 0

        def waits_for() -> str:
            return self._agents.waits_for if lacking()[0] else self._worktrees.waits_for

        def settled() -> bool:
            left = sum(lacking())
            progress(max(total - left, 0), f"waits for {waits_for()}" if left else "ready")
            return not left

        errors, taken = [], 0
        if not await self._team.changes.until(settled, timeout_s):
            errors.append(f"{sum(lacking())} are not ready after {timeout_s:.0f} s: they wait for {waits_for()}.")
        if instances is not None:
            errors += self._agents.demand.errors.get(key, [])
            taken += self._agents.demand.taken[key]
        if worktrees is not None:
            errors += self._worktrees.demand.errors.get(work_dir, [])
            taken += self._worktrees.demand.taken[work_dir]
        return OrderProgress(
            instances=len(self._agents.ready(key)),
            worktrees=self._worktrees.ready(work_dir),
            taken=taken,
            errors=tuple(dict.fromkeys(errors)),
        )

    @property
    def _orders(self) -> PoolOrders:
        return PoolOrders(
            kinds=self._agents.kinds,
            current=self._agents.current,
            agents=self._agents.demand.orders,
            worktrees={str(work_dir): count for work_dir, count in self._worktrees.demand.orders.items()},
        )

    @property
    def last_work_dir(self) -> Path | None:
        """Where the last isolated instance was started, as far as anybody remembers."""
        started = (
            member.record
            for member in reversed(tuple(self._team.registry))
            if member.record.is_isolated and member.record.stage is not InstanceStage.STARTING
        )
        return next((record.work_dir for record in started), None)

    def tuned(self, _before: TunableValues, after: TunableValues) -> None:
        self._agents.resize(after.prewarm_instances)
        self._worktrees.resize(after.worktree_pool_size)

    @property
    def figures(self) -> PoolSnapshot:
        return PoolSnapshot(
            instances=SpareCount(
                ready=len(self._agents.ready()), wanted=self._agents.size, waits_for=self._agents.waits_for
            ),
            worktrees=SpareCount(
                ready=self._worktrees.ready(), wanted=self._worktrees.size, waits_for=self._worktrees.waits_for
            ),
            actors=SpareCount(ready=self._actor_pool.ready, wanted=self._actor_pool.size),
            hosts=self._by_host(),
        )

    def _by_host(self) -> dict[str, HostPool]:
        agents = Counter(spare.record.host for spare in self._agents.ready())
        worktrees, actors = self._worktrees.hosts, self._actor_pool.there
        return {
            name: HostPool(instances=agents[name], worktrees=worktrees[name], actors=actors[address])
            for address, name in self._placement.names.items()
        }

    async def begin(self) -> None:
        """Raises ``StoreError``."""
        orders = await self._book.load(self._team.unreadable)
        self._agents.restore(orders)
        self._worktrees.restore(orders.worktrees)
        self._actor_pool.begin(self._team.confirm)
        keeping = (self._agents.keep(), self._worktrees.keep(), self._keep_orders())
        self._tasks = [asyncio.create_task(each) for each in keeping]

    async def _keep_orders(self) -> None:
        """What was taken of an order, or given up, is stored a moment later: a crash in between makes one too many."""
        while True:
            await self._team.changes.until(lambda: self._book.lacks(self._orders), None)
            try:
                await self._book.save(self._orders)
            except FencedError:
                return
            except StoreError as error:
                logger.warning("what is ordered of the pool is stored later: %s", error)
                await asyncio.sleep(_STORE_AGAIN_S)

    async def end(self) -> None:
        """What is ready stays for the next supervisor."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._agents.end()
        await self._worktrees.end()
        await self._actor_pool.end()

    async def give_up(self) -> None:
        """For the team's own end: nothing is kept any more, and nothing is ordered."""
        await self._agents.give_up()
        await self._worktrees.give_up()
        try:
            await self._book.save(self._orders)
        except PhalanxError as error:
            logger.warning("the pool's orders stay stored for the next team: %s", error)


_MOST_S = 3600.0


class PoolService:
    """A ``VerbService``."""

    def __init__(self, pool: Pool, work_dirs: WorkDirPolicy, timeout_s: float) -> None:
        """``timeout_s``: longest that one agent may take to its prompt."""
        self._pool = pool
        self._work_dirs = work_dirs
        self._timeout_s = timeout_s

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"prewarm_resources": self.prewarm}

    async def prewarm(self, request: PrewarmRequest, caller: Caller) -> PrewarmResult:
        work_dir = await self._work_dirs.checked(self._directory(request, caller))
        recipe = AgentSpec(
            work_dir=work_dir,
            agent=request.agent or self._pool.default_agent,
            model=request.model,
            permission_mode=request.permission_mode,
            environment=tuple(sorted(request.env.items())),
        )
        total = (request.instances or 0) + (request.number_of_worktrees or 0)
        ready = await self._pool.fill(
            recipe,
            request.instances,
            request.number_of_worktrees,
            lambda done, what: caller.progress(done, total, what),
            min(self._timeout_s * (total + 1), _MOST_S),
        )
        return PrewarmResult(
            success=not ready.errors,
            work_dir=str(work_dir),
            instances=ready.instances,
            worktrees=ready.worktrees,
            taken=ready.taken,
            errors=list(ready.errors),
        )

    def _directory(self, request: PrewarmRequest, caller: Caller) -> str:
        found = request.work_dir or str(self._pool.last_work_dir or caller.directory)
        if not found:
            raise InvalidRequestError("No instance has worked anywhere yet: give workDir, the directory to prepare.")
        return found

    async def begin(self) -> None:
        await self._pool.begin()

    async def end(self) -> None:
        await self._pool.end()
