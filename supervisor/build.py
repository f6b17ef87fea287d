"""Builds a supervisor: which part gets which. ``SupervisorActor`` and tests call ``build_supervisor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.home import Home
from supervisor.api.verbs import VerbService
from supervisor.cluster.migration import Drainer, Failover, Relocation, WorkSync
from supervisor.cluster.router import HostRouter
from supervisor.cluster.service import ClusterService, HostConnector, NoClusterService
from supervisor.cluster.slots import SlotAccounting
from supervisor.git.service import RemoteGit, git_service
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.metrics.monitor import Hosts, Monitor
from supervisor.metrics.service import AlertLoop, EventFeed, HistoryStore, MetricsService
from supervisor.pool.agents import AgentFactory, AgentFactoryParts, AgentPool
from supervisor.pool.demand import OrderBook, this_boot
from supervisor.pool.placement import ClusterPlacement, LocalPlacement, SparePlacement
from supervisor.pool.pool import Pool, PoolService, SparePools
from supervisor.pool.worktrees import WorktreePool
from supervisor.recovery.gc import GarbageCollector, GcService
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.settings.service import SettingsService
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.spawner import Spawner, SpawnSettings, Starts
from supervisor.spawning.staff import Staff
from supervisor.spawning.start import ColdStart, WarmStart
from supervisor.store.base import StateStore
from supervisor.store.guards import FencedStore, PreservingStore
from supervisor.supervisor import Supervisor
from supervisor.team.adoption import Adopter, Batching
from supervisor.team.lifecycle import AutoRestart, Lifecycle
from supervisor.team.queries import Queries
from supervisor.team.recycling import ContextRecycler
from supervisor.team.team import Team


def make_pool(home: Home, settings: Settings, staff: Staff, team: Team, adopter: Adopter, *, store: StateStore) -> Pool:
    placement: SparePlacement = LocalPlacement(staff.host, staff.memory)
    if staff.scheduler is not None:
        placement = ClusterPlacement(team, staff.scheduler, staff.memory)
    parts = AgentFactoryParts(
        home=home,
        host=staff.host,
        team=team,
        adopter=adopter,
        rollback=SpawnRollback(team, staff.host, staff.factory),
        memory=staff.memory,
        placement=placement,
        timeout_s=settings.spawn_timeout_s,
    )
    agents = AgentPool(team, staff, AgentFactory(parts), placement, settings.prewarm_instances)
    worktrees = WorktreePool(team, staff, placement, settings.worktree_pool_size)
    book = OrderBook(PreservingStore(store, team.unreadable), this_boot())
    return Pool(
        team,
        staff.actor_pool,
        SparePools(placement=placement, agents=agents, worktrees=worktrees),
        book,
        settings.agent,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What nearly every part stands on."""

    home: Home
    settings: Settings
    staff: Staff
    recorder: MetricsRecorder
    store: FencedStore
    team: Team
    live_settings: LiveSettings
    adopter: Adopter
    rollback: SpawnRollback
    work_dirs: WorkDirPolicy


def build_supervisor(home: Home, settings: Settings, staff: Staff, store: StateStore) -> Supervisor:
    """The supervisor over the given host, instances and state; ``recover`` it before the first verb."""
    ground = _ground(home, settings, staff, store)
    team = ground.team
    pool = _pool(ground)
    lifecycle = Lifecycle(team, staff, ground.adopter, settings.spawn_timeout_s)
    history = HistoryStore(ground.recorder, ground.store, team.unreadable)
    return Supervisor(
        home=home,
        store=ground.store,
        team=team,
        permits=staff.permits,
        queries=Queries(team, staff.host),
        spawner=_spawner(ground, pool),
        lifecycle=lifecycle,
        auto_restart=_auto_restart(ground, lifecycle),
        recycling=_recycling(ground, lifecycle),
        recovery=Recovery(team, staff, ground.adopter, ground.rollback, lifecycle),
        services=_services(ground, pool, lifecycle, history),
        on_shutdown=lambda: _at_the_end(history, pool),
    )


def _ground(home: Home, settings: Settings, staff: Staff, store: StateStore) -> _Ground:
    recorder = MetricsRecorder()
    fence = FencedStore(store, recorder)
    team = Team(fence, _names(home), recorder)
    live_settings = LiveSettings(TunableValues.of(settings))
    return _Ground(
        home=home,
        settings=settings,
        staff=staff,
        recorder=recorder,
        store=fence,
        team=team,
        live_settings=live_settings,
        adopter=Adopter(home, Batching(live_settings, team), staff.factory, team, auto_restart=settings.resumes),
        rollback=SpawnRollback(team, staff.host, staff.factory),
        work_dirs=WorkDirPolicy(
            home, Path.home(), settings.allowed_work_dirs, host=staff.scheduler.own if staff.scheduler else ""
        ),
    )


def _pool(ground: _Ground) -> Pool:
    staff = ground.staff
    pool = make_pool(ground.home, ground.settings, staff, ground.team, ground.adopter, store=ground.store)
    ground.live_settings.subscribe(pool.tuned)
    staff.memory.give_up_spare = pool.give_back
    ground.team.add_warning(lambda: staff.memory.warning)
    return pool


def _spawner(ground: _Ground, pool: Pool) -> Spawner:
    staff, team = ground.staff, ground.team
    settings = SpawnSettings(
        team=team,
        agent=ground.settings.agent,
        timeout_s=ground.settings.spawn_timeout_s,
        work_dirs=ground.work_dirs,
        allow_bypass=ground.settings.allow_bypass_permissions,
        scheduler=staff.scheduler,
    )
    cold = ColdStart(ground.home, staff, team, ground.adopter, pool)
    return Spawner(
        settings, staff, ground.adopter, ground.rollback, Starts(warm=WarmStart(staff, team, pool), cold=cold)
    )


def _auto_restart(ground: _Ground, lifecycle: Lifecycle) -> AutoRestart:
    auto_restart = AutoRestart(ground.team, lifecycle, ground.staff.permits, ground.settings.resume_limit)
    if ground.settings.resumes:
        ground.team.subscribe_failures(auto_restart.failed)
    return auto_restart


def _recycling(ground: _Ground, lifecycle: Lifecycle) -> ContextRecycler:
    settings = ground.settings
    return ContextRecycler(
        ground.team,
        lifecycle,
        context_tokens=settings.recycle_context_tokens,
        tasks=settings.recycle_after_tasks,
    )


def _services(ground: _Ground, pool: Pool, lifecycle: Lifecycle, history: HistoryStore) -> tuple[VerbService, ...]:
    settings, staff = ground.settings, ground.staff
    elsewhere = RemoteGit(ground.home.worktrees, staff.scheduler)
    git = git_service(ground.live_settings, staff.host, ground.work_dirs, ground.team, elsewhere)
    hosts: Hosts = staff.scheduler.linked if staff.scheduler else lambda: {"": staff.host}
    monitor = Monitor(
        ground.team,
        ground.store,
        staff.permits,
        ground.live_settings,
        hosts,
        slots=staff.scheduler.slots if staff.scheduler else dict,
        git=lambda: git.figures,
        pools=lambda: pool.figures,
        no_memory=lambda: staff.memory.warning,
    )
    feed = EventFeed()
    cap_tuning = CapTuningLoop(ground.live_settings, staff.permits, ground.recorder, hosts)
    return (
        git,
        GcService(ground.team, GarbageCollector(ground.home, ground.team, staff.host, lifecycle)),
        MetricsService(monitor, ground.recorder, history, AlertLoop(monitor, feed), feed, cap_tuning),
        SettingsService(ground.home, ground.live_settings, cap_tuning, TunableValues.of(settings.configured)),
        _cluster_service(ground, lifecycle, pool),  # before the pool, which asks for its spares where they are
        PoolService(pool, ground.work_dirs, settings.spawn_timeout_s),
    )


def _cluster_service(ground: _Ground, lifecycle: Lifecycle, pool: Pool) -> VerbService:
    staff, team, scheduler = ground.staff, ground.team, ground.staff.scheduler
    if scheduler is None:
        return NoClusterService()
    SlotAccounting(team, scheduler).install(staff)
    scheduler.subscribe(staff.actor_pool.look_again)
    scheduler.subscribe(pool.look_again)
    hosts = HostRouter(scheduler, ground.home.travel / "conversations")
    relocation = Relocation(team, scheduler, hosts)
    return ClusterService(
        ground.home,
        team,
        scheduler,
        Drainer(team, scheduler, hosts, staff.factory, ground.adopter, lifecycle, relocation),
        (
            WorkSync(team, hosts, ground.settings.save_interval_s),
            Failover(team, scheduler, hosts, staff.factory, lifecycle, relocation),
            HostConnector(scheduler),
        ),
    )


async def _at_the_end(history: HistoryStore, pool: Pool) -> None:
    await pool.give_up()
    await history.save()


def _names(home: Home) -> list[str]:
    """What instances and spares have left here; ids of an earlier team are not given again."""
    return [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
