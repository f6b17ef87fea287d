"""Builds a supervisor: which part gets which. ``SupervisorActor`` and tests call ``build_supervisor``."""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from supervisor.api.verbs import VerbService
from supervisor.cluster.migration import Drainer, Failover, Relocation, WorkSync
from supervisor.cluster.router import HostRouter
from supervisor.cluster.service import ClusterService, HostConnector, NoClusterService
from supervisor.cluster.slots import SlotAccounting
from supervisor.git.service import GitService, RemoteGit
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.metrics.monitor import Hosts, Monitor
from supervisor.metrics.service import AlertLoop, EventFeed, HistoryStore, MetricsService
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
from supervisor.spawning.spawner import AgentStarter, Spawner
from supervisor.spawning.staff import Staff
from supervisor.store.base import StateStore
from supervisor.store.guards import FencedStore, PreservingStore
from supervisor.supervisor import Supervisor
from supervisor.team.adoption import Adopter, Batching
from supervisor.team.lifecycle import AutoRestart, Lifecycle
from supervisor.team.queries import Queries
from supervisor.team.recycling import ContextRecycler
from supervisor.team.team import Team


def build_supervisor(home: Home, settings: Settings, staff: Staff, store: StateStore) -> Supervisor:
    """The supervisor over the given host, instances and state; ``recover`` it before the first verb."""
    host, factory, permits, memory, scheduler = staff.host, staff.factory, staff.permits, staff.memory, staff.scheduler
    recorder = MetricsRecorder()
    fenced = FencedStore(store, recorder)
    team = Team(fenced, _names(home), recorder)
    team.add_warning(lambda: memory.warning)
    live_settings = LiveSettings(TunableValues.of(settings))
    batching = Batching(live_settings, team)
    adopter = Adopter(home, batching, factory, team, auto_restart=settings.resumes)
    rollback = SpawnRollback(team, host, factory)
    own = scheduler.own if scheduler else ""
    work_dirs = WorkDirPolicy(home, Path.home(), settings.allowed_work_dirs, host=own)
    lifecycle = Lifecycle(team, host, factory, adopter, memory, scheduler, settings.spawn_timeout_s)

    pools = make_pools(home, settings, staff, team, adopter, rollback, live_settings, fenced, work_dirs)
    spawner = Spawner(
        team,
        AgentStarter(home, host, team, adopter, pools, scheduler),
        adopter,
        rollback,
        permits,
        memory,
        scheduler,
        work_dirs,
        default_agent=settings.agent,
        timeout_s=settings.spawn_timeout_s,
        allow_bypass=settings.allow_bypass_permissions,
    )

    auto_restart = AutoRestart(team, lifecycle, permits, settings.resume_limit)
    if settings.resumes:
        team.subscribe_failures(auto_restart.failed)

    git = GitService(live_settings, host, work_dirs, team, RemoteGit(home.worktrees, scheduler))
    hosts: Hosts = scheduler.linked if scheduler else lambda: {"": host}
    monitor = Monitor(
        team,
        fenced,
        permits,
        live_settings,
        hosts,
        slots=scheduler.slots if scheduler else dict,
        git=lambda: git.figures,
        pools=lambda: pools.figures,
        no_memory=lambda: memory.warning,
    )
    history = HistoryStore(recorder, fenced, team.unreadable)
    feed = EventFeed()
    cap_tuning = CapTuningLoop(live_settings, permits, recorder, hosts)

    async def at_the_end() -> None:
        await pools.give_up()
        await history.save()

    return Supervisor(
        home=home,
        store=fenced,
        team=team,
        permits=permits,
        queries=Queries(team, host),
        spawner=spawner,
        lifecycle=lifecycle,
        auto_restart=auto_restart,
        recycling=ContextRecycler(
            team, lifecycle, context_tokens=settings.recycle_context_tokens, tasks=settings.recycle_after_tasks
        ),
        recovery=Recovery(team, host, factory, scheduler, adopter, rollback, lifecycle, pools.actors),
        services=(
            git,
            GcService(team, GarbageCollector(home, team, host, lifecycle)),
            MetricsService(monitor, recorder, history, AlertLoop(monitor, feed), feed, cap_tuning),
            SettingsService(home, live_settings, cap_tuning, TunableValues.of(settings.configured)),
            # Before the pools, which ask for their spares where they are.
            _cluster_service(home, settings, staff, team, adopter, lifecycle),
            pools,
        ),
        on_shutdown=at_the_end,
    )


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
        slots.install(staff.memory)
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


def _cluster_service(
    home: Home, settings: Settings, staff: Staff, team: Team, adopter: Adopter, lifecycle: Lifecycle
) -> VerbService:
    scheduler, factory = staff.scheduler, staff.factory
    if scheduler is None:
        return NoClusterService()
    hosts = HostRouter(scheduler, home.travel / "conversations")
    relocation = Relocation(team, scheduler, hosts)
    return ClusterService(
        home,
        team,
        scheduler,
        Drainer(team, scheduler, hosts, factory, adopter, lifecycle, relocation),
        (
            WorkSync(team, hosts, settings.save_interval_s),
            Failover(team, scheduler, hosts, factory, lifecycle, relocation),
            HostConnector(scheduler),
        ),
    )


def _names(home: Home) -> list[str]:
    """What instances and spares have left here; ids of an earlier team are not given again."""
    return [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
