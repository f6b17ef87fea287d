"""Puts a supervisor together: which part gets which.

How a supervisor is put together from settings, its store and those who do the work.

How the pool is put together.

How the services of performance and tuning are put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.home import Home
from supervisor.api.verbs import VerbService
from supervisor.cluster.migration import Drainer, Failover, MoveParts, WorkSync
from supervisor.cluster.router import HostRouter
from supervisor.cluster.service import ClusterService, HostConnector, HostsParts
from supervisor.cluster.slots import SlotAccounting
from supervisor.git.service import GitService, RemoteGit
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.metrics.monitor import Monitor, SnapshotParts
from supervisor.metrics.service import AlertLoop, EventFeed, HistoryStore, MetricsService, MetricsServiceParts
from supervisor.metrics.snapshot import SnapshotSources
from supervisor.pool.actors import ActorMaker
from supervisor.pool.agents import AgentMaker
from supervisor.pool.orders import OrderBook, this_boot
from supervisor.pool.placement import ClusterPlacement, SparePlacement
from supervisor.pool.service import Pools
from supervisor.pool.worktrees import StaleSpareCleaner, WorktreeMaker
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
from supervisor.supervisor import Supervisor, SupervisorParts
from supervisor.team.adoption import Adopter, Batching, InstanceRules
from supervisor.team.lifecycle import AutoRestart, Lifecycle
from supervisor.team.queries import Queries
from supervisor.team.recycling import ContextRecycler, RecyclingRules
from supervisor.team.team import Team


def make_pools(
    home: Home,
    settings: Settings,
    staff: Staff,
    team: Team,
    adopter: Adopter,
    rollback: SpawnRollback,
    live_settings: LiveSettings,
    store: StateStore,
    work_dirs: WorkDirPolicy,
) -> Pools:
    placement = SparePlacement(staff.host, staff.memory)
    if staff.scheduler is not None:
        slots = SlotAccounting(team, staff.scheduler)
        placement = ClusterPlacement(staff.host, staff.memory, staff.scheduler, slots)
    return Pools(
        team,
        staff.permits,
        staff.memory,
        placement,
        live_settings,
        OrderBook(PreservingStore(store, team.unreadable), this_boot()),
        actors=ActorMaker(staff.factory),
        agents=AgentMaker(home, staff.host, team, adopter, rollback, staff.memory, placement, settings.spawn_timeout_s),
        worktrees=WorktreeMaker(staff.host, team, placement),
        cleaner=StaleSpareCleaner(team, placement),
        work_dirs=work_dirs,
        spare_actors=settings.spare_actors,
        default_agent=settings.agent,
        timeout_s=settings.spawn_timeout_s,
    )


def metrics_services(
    home: Home, watched: SnapshotParts, keeper: HistoryStore, configured: TunableValues
) -> tuple[VerbService, ...]:
    """``configured``: what applies without anything that was changed while a team ran."""
    recorder = watched.team.recorder
    self_tuning = CapTuningLoop(watched.live_settings, watched.permits, recorder, watched.hosts)
    monitor, events = Monitor(watched), EventFeed()
    performance = MetricsService(
        MetricsServiceParts(
            monitor=monitor,
            recorder=recorder,
            keeper=keeper,
            unreadable=watched.team.unreadable,
            events=events,
            watch=AlertLoop(monitor, events),
            auto_steps=lambda: self_tuning.steps,
        )
    )
    return performance, SettingsService(home, watched.live_settings, self_tuning, configured)


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
    pools = _pools(ground)
    lifecycle = Lifecycle(team, staff, ground.adopter, settings.spawn_timeout_s)
    keeper = HistoryStore(ground.recorder, ground.store)
    return Supervisor(
        SupervisorParts(
            home=home,
            store=ground.store,
            team=team,
            permits=staff.permits,
            queries=Queries(team, staff.host),
            spawner=_spawner(ground, pools),
            lifecycle=lifecycle,
            auto_restart=_auto_restart(ground, lifecycle),
            recycling=_recycling(ground, lifecycle),
            recovery=Recovery(team, staff, ground.adopter, ground.rollback, lifecycle, pools.actors),
            services=_services(ground, pools, lifecycle, keeper),
            on_shutdown=lambda: _at_the_end(keeper, pools),
        )
    )


def _ground(home: Home, settings: Settings, staff: Staff, store: StateStore) -> _Ground:
    recorder = MetricsRecorder()
    fence = FencedStore(store, recorder)
    team = Team(fence, _names(home), recorder)
    live_settings = LiveSettings(TunableValues.of(settings))
    rules = InstanceRules(batching=Batching(live_settings, team), comes_back=settings.resumes)
    return _Ground(
        home=home,
        settings=settings,
        staff=staff,
        recorder=recorder,
        store=fence,
        team=team,
        live_settings=live_settings,
        adopter=Adopter(home, rules, staff.factory, team),
        rollback=SpawnRollback(team, staff.host, staff.factory),
        work_dirs=WorkDirPolicy(
            home, Path.home(), settings.allowed_work_dirs, host=staff.scheduler.own if staff.scheduler else ""
        ),
    )


def _pools(ground: _Ground) -> Pools:
    staff = ground.staff
    ground.team.further_warnings.append(lambda: staff.memory.warning)
    return make_pools(
        ground.home,
        ground.settings,
        staff,
        ground.team,
        ground.adopter,
        ground.rollback,
        ground.live_settings,
        ground.store,
        ground.work_dirs,
    )


def _spawner(ground: _Ground, pools: Pools) -> Spawner:
    staff, team = ground.staff, ground.team
    settings = SpawnSettings(
        team=team,
        agent=ground.settings.agent,
        timeout_s=ground.settings.spawn_timeout_s,
        work_dirs=ground.work_dirs,
        allow_bypass=ground.settings.allow_bypass_permissions,
        scheduler=staff.scheduler,
    )
    cold = ColdStart(ground.home, staff, team, ground.adopter, pools)
    return Spawner(
        settings, staff, ground.adopter, ground.rollback, Starts(warm=WarmStart(staff, team, pools), cold=cold)
    )


def _auto_restart(ground: _Ground, lifecycle: Lifecycle) -> AutoRestart:
    auto_restart = AutoRestart(ground.team, lifecycle, ground.staff.permits, ground.settings.resume_limit)
    if ground.settings.resumes:
        ground.team.on_failed = auto_restart.failed
    return auto_restart


def _recycling(ground: _Ground, lifecycle: Lifecycle) -> ContextRecycler:
    settings = ground.settings
    rules = RecyclingRules(context_tokens=settings.recycle_context_tokens, tasks=settings.recycle_after_tasks)
    recycling = ContextRecycler(ground.team, lifecycle, rules)
    ground.team.on_reported = recycling.reported
    return recycling


def _services(ground: _Ground, pools: Pools, lifecycle: Lifecycle, keeper: HistoryStore) -> tuple[VerbService, ...]:
    settings, staff = ground.settings, ground.staff
    elsewhere = RemoteGit(ground.home.worktrees, staff.scheduler)
    git = GitService(ground.live_settings, staff.host, ground.work_dirs, ground.team, elsewhere)
    watched = SnapshotParts(
        team=ground.team,
        store=ground.store,
        permits=staff.permits,
        hosts=staff.scheduler.linked if staff.scheduler else lambda: {"": staff.host},
        slots=staff.scheduler.slots if staff.scheduler else dict,
        live_settings=ground.live_settings,
        sources=SnapshotSources(
            git=lambda: git.figures, pools=lambda: pools.figures, no_memory=lambda: staff.memory.warning
        ),
    )
    return (
        git,
        GcService(ground.team, GarbageCollector(ground.home, ground.team, staff.host, lifecycle)),
        *metrics_services(ground.home, watched, keeper, TunableValues.of(settings.configured)),
        _cluster_service(ground, lifecycle),  # before the pool, which asks for its spares where they are
        pools,
    )


def _cluster_service(ground: _Ground, lifecycle: Lifecycle) -> ClusterService:
    staff, team, scheduler = ground.staff, ground.team, ground.staff.scheduler
    if scheduler is None:
        return ClusterService(ground.home, team, None)
    SlotAccounting(team, scheduler).tell(staff.memory)
    hosts = HostRouter(scheduler, ground.home.travel / "conversations")
    parts = MoveParts(
        team=team, scheduler=scheduler, hosts=hosts, factory=staff.factory, adopter=ground.adopter, lifecycle=lifecycle
    )
    return ClusterService(
        ground.home,
        team,
        HostsParts(
            scheduler=scheduler,
            work_sync=WorkSync(team, hosts, ground.settings.save_interval_s),
            failover=Failover(parts),
            drainer=Drainer(parts),
            connector=HostConnector(scheduler),
        ),
    )


async def _at_the_end(keeper: HistoryStore, pools: Pools) -> None:
    await pools.give_up()
    await keeper.save()


def _names(home: Home) -> list[str]:
    """What instances and spares have left here; ids of an earlier team are not given again."""
    return [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
