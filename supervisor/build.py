"""Builds a supervisor: which part gets which. ``SupervisorActor`` and tests call ``build_supervisor``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

from actors.agents.catalog import AgentCatalog
from actors.home import Home
from actors.host.host import Host
from supervisor.api.verbs import VerbService
from supervisor.cluster.migration import Drainer, Failover, WorkSync
from supervisor.cluster.router import HostRouter
from supervisor.cluster.scheduler import HostScheduler
from supervisor.cluster.service import ClusterService, HostConnector, NoClusterService
from supervisor.events.detector import EventDetector
from supervisor.events.needing import NeedingLine
from supervisor.events.notices import PeopleNotifier
from supervisor.events.service import EventService
from supervisor.events.telling import LeadNotifier
from supervisor.git.claims import Claims
from supervisor.git.conflicts import ConflictTeller
from supervisor.git.merging import MergeService
from supervisor.git.service import GitService, RemoteGit
from supervisor.git.syncing import SyncService
from supervisor.git.work import WorkOverview, WorkReader
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.metrics.monitor import Hosts, Monitor
from supervisor.metrics.service import AlertLoop, HistoryStore, MetricsService
from supervisor.metrics.token_meter import TokenMeter
from supervisor.pool.makers import AgentMaker, WorktreeMaker
from supervisor.pool.placement import SparePlacement, StaleSpareCleaner
from supervisor.pool.service import OrderBook, Pools, this_boot
from supervisor.ports import ClusterPort, InstanceFactory
from supervisor.recovery.gc import GarbageCollector, GcService
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.settings.service import SettingsService
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy, any_slots
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.spawner import AgentStarter, Spawner
from supervisor.store.base import StateStore
from supervisor.store.guards import FencedStore, PreservingStore
from supervisor.supervisor import Supervisor
from supervisor.team.access import Access
from supervisor.team.adoption import Adopter, Batching
from supervisor.team.lifecycle import AutoRestart, Lifecycle
from supervisor.team.queries import Queries
from supervisor.team.rate_limits import RateLimits
from supervisor.team.recycling import ContextRecycler
from supervisor.team.rows import RowService
from supervisor.team.team import Team
from supervisor.team.terminals import TerminalService
from supervisor.team.tokens import TokenLimits

logger = logging.getLogger(__name__)


def build_supervisor(
    home: Home,
    settings: Settings,
    own_host: Host,
    catalog: AgentCatalog,
    factory: InstanceFactory,
    store: StateStore,
    cluster: ClusterPort | None = None,
    host_name: str = "",
) -> Supervisor:
    """The supervisor over this host, instances and state; ``recover`` it before the first verb.

    ``cluster``: the Ray cluster that the team has joined; ``host_name``: the name of this host there.
    """
    recorder = MetricsRecorder()
    fenced = FencedStore(store, recorder)
    team = Team(fenced, _names(home), recorder)

    scheduler = router = None
    if cluster is not None:
        scheduler = HostScheduler(
            host_name, own_host, cluster, team.registry, team.links, most_per_host=settings.host_instances
        )
        router = HostRouter(scheduler, team.registry, home.travel / "conversations")
    host = cast("Host", router) if router else own_host
    permits = FairSemaphore(settings.max_concurrent_spawns)
    memory = MemoryAdmission(
        own_host,
        catalog,
        settings.agent_memory_mb,
        settings.memory_reserve_mb,
        settings.spawn_timeout_s,
        slots_left=scheduler.slots_left if scheduler else any_slots,
    )
    team.add_warning(lambda: memory.warning)
    live_settings = LiveSettings(TunableValues.of(settings))
    batching = Batching(live_settings, team)
    adopter = Adopter(home, batching, factory, team, auto_restart=settings.resumes)
    rollback = SpawnRollback(team, host, factory)
    own = scheduler.own if scheduler else ""
    work_dirs = WorkDirPolicy(home, Path.home(), settings.allowed_work_dirs, host=own)
    allow_bypass = settings.allow_bypass_permissions
    tokens = TokenLimits(team, batching, fenced)
    access = Access(team.registry, siblings_may_send=settings.siblings_may_send)
    lifecycle = Lifecycle(
        team, host, factory, adopter, memory, scheduler, tokens, settings.spawn_timeout_s, allow_bypass=allow_bypass
    )
    rate_limits = RateLimits(team, continues=settings.continue_after_rate_limit)

    placement = SparePlacement(host, memory, scheduler)
    pools = Pools(
        team,
        permits,
        memory,
        placement,
        live_settings,
        OrderBook(PreservingStore(fenced, team.unreadable), this_boot()),
        agents=AgentMaker(
            home,
            host,
            team,
            adopter,
            rollback,
            memory,
            placement,
            settings.spawn_timeout_s,
            allow_bypass=allow_bypass,
        ),
        worktrees=WorktreeMaker(host, team, placement),
        cleaner=StaleSpareCleaner(team, placement),
        work_dirs=work_dirs,
        default_agent=settings.agent,
        timeout_s=settings.spawn_timeout_s,
    )
    spawner = Spawner(
        team,
        AgentStarter(home, host, team, access, adopter, pools, scheduler),
        adopter,
        rollback,
        permits,
        memory,
        scheduler,
        work_dirs,
        access,
        tokens,
        rate_limits,
        default_agent=settings.agent,
        timeout_s=settings.spawn_timeout_s,
        allow_bypass=allow_bypass,
    )

    auto_restart = AutoRestart(team, lifecycle, permits, settings.resume_limit)
    if settings.resumes:
        team.subscribe_failures(auto_restart.failed)

    git = GitService(live_settings, host, work_dirs, team, access, RemoteGit(home.worktrees, scheduler))
    work_reader = WorkReader(git)
    claims, conflicts = Claims(team), ConflictTeller(team)
    merging = MergeService(
        team,
        access,
        git,
        work_reader,
        own_host,
        claims,
        conflicts,
        work_dirs,
        PreservingStore(fenced, team.unreadable),
        checks=settings.merge_checks,
        check_timeout_s=settings.merge_check_timeout_s,
        carry_home=router.sync_work if router else None,
    )
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
    TokenMeter(team)
    cap_tuning = CapTuningLoop(live_settings, permits, recorder, hosts)

    alerts = AlertLoop(monitor, team.events)
    people = PeopleNotifier(
        team.events,
        PreservingStore(fenced, team.unreadable),
        team.unreadable,
        own_host,
        alerts,
        settings.notify_words,
        frozenset(settings.notify_kinds),
        desktop=settings.desktop_notices,
    )
    team.add_warning(lambda: people.warning)
    notifier = LeadNotifier(
        team, PreservingStore(fenced, team.unreadable), on=settings.tell_leads, auto_restart=settings.resumes
    )
    cluster_service: VerbService = NoClusterService()
    if scheduler is not None and router is not None:
        cluster_service = ClusterService(
            home,
            team,
            scheduler,
            Drainer(team, scheduler, router, factory, lifecycle, adopter),
            (
                WorkSync(team, router, settings.save_interval_s),
                Failover(team, scheduler, router, factory, lifecycle),
                HostConnector(scheduler),
            ),
        )

    async def at_the_end() -> None:
        await pools.give_up()
        await history.save()

    queries = Queries(team, host, notifier.to_be_told)
    return Supervisor(
        home=home,
        store=fenced,
        team=team,
        permits=permits,
        access=access,
        queries=queries,
        work=WorkOverview(team.registry, work_reader, own_host),
        spawner=spawner,
        lifecycle=lifecycle,
        auto_restart=auto_restart,
        recycling=ContextRecycler(
            team, lifecycle, context_tokens=settings.recycle_context_tokens, tasks=settings.recycle_after_tasks
        ),
        notifier=notifier,
        recovery=Recovery(team, host, factory, scheduler, adopter, rollback, lifecycle),
        services=(
            # First: who is held is known before any agent is followed.
            tokens,
            rate_limits,
            git,
            merging,
            SyncService(team, access, git, own_host, claims, conflicts),
            GcService(team, GarbageCollector(home, team, host, lifecycle)),
            MetricsService(monitor, recorder, history, cap_tuning),
            EventService(
                team.events,
                team.registry,
                access,
                EventDetector(team, fenced, team.unreadable),
                alerts,
            ),
            RowService(team, queries),
            TerminalService(team),
            SettingsService(home, live_settings, cap_tuning, TunableValues.of(settings.configured)),
            # Before the pools, which ask for their spares where they are.
            cluster_service,
            pools,
            notifier,
            people,
            NeedingLine(team, hosts),
        ),
        on_shutdown=at_the_end,
    )


def _names(home: Home) -> list[str]:
    """What instances and spares have left here; ids of an earlier team are not given again."""
    return [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
