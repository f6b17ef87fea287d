"""The two pools of a team, how many spares each shall have, and the verb ``prewarm_resources``.

Spawns take spares from here. The targets are: of agents, the settings' number of the kind that was last asked for, once
the team is in use; of worktrees, the settings' number for each of the directories that were last worked on. Where more
are ordered, there are as many; an order of none leaves those of the settings.

An order holds until spawns have taken it, until ``phalanx down``, or until the machine reboots: after a reboot nobody
has asked for it. ``OrderBook`` stores orders for a supervisor that comes back. The kind of agent that was last asked
for outlives them, because the settings' spares are of that kind. All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from actors.concurrency import TaskSet
from actors.errors import FencedError, InvalidRequestError, PhalanxError, StoreError
from actors.worktrees.model import Workspace
from supervisor.api.requests import PrewarmRequest, SpawnRequest
from supervisor.api.results import PrewarmResult
from supervisor.api.verbs import Caller, Handler
from supervisor.metrics.snapshot import HostPool, PoolSnapshot, SpareCount
from supervisor.pool.makers import AgentMaker, AgentSpec, WorktreeMaker, spare_agent
from supervisor.pool.placement import SparePlacement, StaleSpareCleaner
from supervisor.pool.pool import EVERY_S, Pool, Spare
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

UNUSED_S = 1800.0
"""How long spares of the kind before stay, for a lead that changes between two kinds of agents."""
DIRECTORIES = 4
"""How many of the directories that were last worked on have the settings' worktrees."""
_STORE_AGAIN_S = 5.0
_LONGEST_WAIT_S = 3600.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_DIRECTORY = "the first spawn of an isolated instance: they are for the repositories that are worked on"


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


def _may_be_spare(request: SpawnRequest) -> bool:
    """A spare has started in a worktree of its own that was not prepared, and gets its identity with a message."""
    return request.workspace_mode == "isolated" and not request.attended and request.prepare is None


class Pools:
    """A ``VerbService``."""

    def __init__(
        self,
        team: Team,
        permits: FairSemaphore,
        memory: MemoryAdmission,
        placement: SparePlacement,
        live_settings: LiveSettings,
        book: OrderBook,
        *,
        agents: AgentMaker,
        worktrees: WorktreeMaker,
        cleaner: StaleSpareCleaner,
        work_dirs: WorkDirPolicy,
        default_agent: str,
        timeout_s: float,
    ) -> None:
        """``timeout_s``: the longest time from the start of an agent to its prompt."""
        self._team = team
        self._memory = memory
        self._placement = placement
        self._settings = live_settings
        self._book = book
        self._cleaner = cleaner
        self._agent_maker = agents
        self._work_dirs = work_dirs
        self._default_agent = default_agent
        self._timeout_s = timeout_s
        self._current = ""
        """The key of the kind of agent that was last asked for."""
        self._in_use = False
        """Whether an instance of the team runs or was asked for; before that the settings' agents are not needed."""
        self._recent_dirs: list[Path] = []
        """The latest at the end."""
        self._tasks = TaskSet("keep the pools")
        shared = (permits, team.changes, team.confirm)
        self.agents = Pool(agents, self._agent_targets, *shared, unused_s=UNUSED_S)
        self.worktrees = Pool(worktrees, self._worktree_targets, *shared)
        live_settings.subscribe(self._on_settings)

    def take_agent(
        self, request: SpawnRequest, work_dir: Path, hosts: Sequence[str] | None
    ) -> Spare[str, Member] | None:
        """``hosts``: where it may be, best first; None on one machine."""
        if not _may_be_spare(request):
            return None
        spec = AgentSpec.of(request, work_dir, self._default_agent)
        spare = self.agents.take(spec.key, hosts)
        if spare is not None:
            self._note_kind(spec)
        return spare

    def note_cold_start(self, request: SpawnRequest, work_dir: Path, workspace: Workspace) -> None:
        """An instance has its workspace, perhaps a spare one. From now on spares are for others of its kind."""
        if workspace.worktree is not None:
            self._team.registry.spare_worktrees.discard(workspace.worktree.name)
        if _may_be_spare(request):
            self._note_kind(AgentSpec.of(request, work_dir, self._default_agent))
        if request.workspace_mode == "isolated":
            self._note_directory(work_dir)

    def _note_kind(self, spec: AgentSpec) -> None:
        """From now on the settings' agents are of this kind."""
        self._current, self._in_use = spec.key, True
        self._remember(spec)
        self.agents.use(spec.key)

    def _remember(self, spec: AgentSpec) -> None:
        specs = self._agent_maker.specs
        specs[spec.key] = spec
        for other in specs.keys() - {spec.key, self._current, *self.agents.orders}:
            del specs[other]

    def _note_directory(self, work_dir: Path) -> None:
        others = [each for each in self._recent_dirs if each != work_dir]
        self._recent_dirs = [*others, work_dir][-DIRECTORIES:]

    def _agent_targets(self) -> Mapping[str, int]:
        self._in_use = self._in_use or self._team.links.any
        in_use = self._in_use and bool(self._current)
        return {self._current: self._settings.current.prewarm_instances} if in_use else {}

    def _worktree_targets(self) -> Mapping[Path, int]:
        return dict.fromkeys(self._recent_dirs, self._settings.current.worktree_pool_size)

    def _on_settings(self, _before: TunableValues, _after: TunableValues) -> None:
        self.agents.trim()
        self.worktrees.trim()

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"prewarm_resources": self.prewarm}

    async def prewarm(self, request: PrewarmRequest, caller: Caller) -> PrewarmResult:
        """Orders spares, and waits until each of them is ready, was taken or could not be made.

        A kind of spare that the request leaves out stays as it is. Raises ``StoreError`` when the order is not stored.
        """
        work_dir = await self._work_dirs.checked(self._directory(request, caller))
        spec = AgentSpec.of(request, work_dir, self._default_agent)
        self._agent_maker.check(spec)
        instances, worktrees = request.instances, request.number_of_worktrees
        ordered: list[tuple[str, int, Pool[Any, Any], Hashable]] = []
        if instances is not None:
            self._current = self._current or spec.key
            self._remember(spec)
            self.agents.order(spec.key, instances)
            ordered.append(("spare agents", instances, self.agents, spec.key))
        if worktrees is not None:
            self._note_directory(work_dir)
            self.worktrees.order(work_dir, worktrees)
            ordered.append(("spare worktrees", worktrees, self.worktrees, work_dir))
        await self._book.save(self._orders)
        timeout_s = min(self._timeout_s * ((instances or 0) + (worktrees or 0) + 1), _LONGEST_WAIT_S)

        def lacking() -> int:
            return sum(pool.lacking(key) for _, _, pool, key in ordered)

        def waits_for() -> str:
            return next((pool.waits_for for _, _, pool, key in ordered if pool.lacking(key)), "")

        def settled() -> bool:
            """Each kind is counted by itself: an agent takes much longer than a worktree."""
            for kind, count, pool, key in ordered:
                if left := pool.lacking(key):
                    caller.progress(max(count - left, 0), count, f"{kind} wait for {pool.waits_for}")
                    return False
            return True

        errors = []
        if not await self._team.changes.until(settled, timeout_s):
            errors.append(f"{lacking()} are not ready after {timeout_s:.0f} s: they wait for {waits_for()}.")
        errors += [error for _, _, pool, key in ordered for error in pool.errors.get(key, [])]
        return PrewarmResult(
            success=not errors,
            work_dir=str(work_dir),
            instances=len(self.agents.ready(spec.key)),
            worktrees=len(self.worktrees.ready(work_dir)),
            taken=sum(pool.taken[key] for _, _, pool, key in ordered),
            errors=list(dict.fromkeys(errors)),
        )

    def _directory(self, request: PrewarmRequest, caller: Caller) -> str:
        """The named one; else where the last isolated instance was started; else where the caller is."""
        started = (
            str(member.record.work_dir)
            for member in reversed(tuple(self._team.registry))
            if member.record.is_isolated and member.record.stage is not InstanceStage.STARTING
        )
        found = request.work_dir or next(started, caller.directory)
        if not found:
            raise InvalidRequestError("No instance has worked anywhere yet: give workDir, the directory to prepare.")
        return found

    @property
    def _orders(self) -> PoolOrders:
        agents = self.agents.orders
        known = {*agents, self._current}
        return PoolOrders(
            kinds={key: spec.stored for key, spec in self._agent_maker.specs.items() if key in known},
            current=self._current,
            agents=agents,
            worktrees={str(work_dir): count for work_dir, count in self.worktrees.orders.items()},
        )

    @property
    def figures(self) -> PoolSnapshot:
        settings = self._settings.current
        size = settings.worktree_pool_size
        agents, worktrees = self.agents.hosts(), self.worktrees.hosts()
        return PoolSnapshot(
            instances=SpareCount(
                ready=agents.total(),
                wanted=max(settings.prewarm_instances, self.agents.wanted().total()),
                waits_for=self.agents.waits_for or self._first_use(),
            ),
            worktrees=SpareCount(
                ready=worktrees.total(),
                wanted=max(size, self.worktrees.wanted().total()),
                waits_for=self.worktrees.waits_for or ("" if self._recent_dirs or not size else _NO_DIRECTORY),
            ),
            hosts={name: HostPool(instances=agents[name], worktrees=worktrees[name]) for name in self._placement.names},
        )

    def _first_use(self) -> str:
        """What the settings' agents wait for while they are no target yet."""
        size = self._settings.current.prewarm_instances
        if size and not self._current:
            return "the first spawn of an isolated instance: spares are of the kind that was spawned last"
        if size > len(self.agents.ready(self._current)):
            return "the first instance to be spawned or resumed: before that nobody needs spares"
        return ""

    async def begin(self) -> None:
        """Raises ``StoreError``."""
        orders = await self._book.load(self._team.unreadable)
        self._agent_maker.specs.update(orders.kinds)
        self._current = orders.current
        for key, count in orders.agents.items():
            self.agents.order(key, count)
        for work_dir, count in orders.worktrees.items():
            self._note_directory(Path(work_dir))
            self.worktrees.order(Path(work_dir), count)
        spares = self._team.registry.spares()
        self.agents.recognise(spare_agent(each) for each in spares if each.record.stage is InstanceStage.SPARE)
        self.worktrees.recognise(())
        for pool in (self.agents, self.worktrees):
            self._tasks.begin(pool.keep())
        for loop in (self._cleaner.keep(), self._keep_orders(), self._follow_hosts(), self._make_room()):
            self._tasks.begin(loop)

    async def _keep_orders(self) -> None:
        """Stores a moment later what was taken of an order or given up: a crash in between makes one spare too many."""
        while True:
            self._note_living_instances()
            try:
                await self._book.save(self._orders)
            except FencedError:
                return
            except StoreError as error:
                logger.warning("what is ordered of the pool is stored later: %s", error)
                await asyncio.sleep(_STORE_AGAIN_S)
            await self._team.changes.until(lambda: self._book.lacks(self._orders), EVERY_S)

    def _note_living_instances(self) -> None:
        """Notes the directories of instances that an earlier supervisor started, too."""
        for member in reversed(tuple(self._team.registry)):
            record = member.record
            follows = record.is_isolated and self._team.links.has(record.instance_id)
            if follows and record.work_dir not in self._recent_dirs and len(self._recent_dirs) < DIRECTORIES:
                self._note_directory(record.work_dir)

    async def _follow_hosts(self) -> None:
        while True:
            await self._placement.changes.next(None)
            for pool in (self.agents, self.worktrees):
                pool.wake()

    async def _make_room(self) -> None:
        """Gives up spare agents of a host, one after the other, while room is short there."""
        while True:
            for host in await self._memory.full_hosts():
                self.agents.give_up_one(host or self._placement.own)

    async def end(self) -> None:
        """Ready spares stay for the next supervisor."""
        await self._tasks.end()
        for pool in (self.agents, self.worktrees):
            await pool.end()

    async def give_up(self) -> None:
        """Ends all spares and drops all orders, because the team ends."""
        await self.agents.give_up()
        await self.worktrees.give_up()
        rest = (self._agent_maker.end(spare_agent(member)) for member in self._team.registry.spares())
        await asyncio.gather(*rest)
        try:
            await self._book.save(self._orders)
        except PhalanxError as error:
            logger.warning("the pool's orders stay stored for the next team: %s", error)
