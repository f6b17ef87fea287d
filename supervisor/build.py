"""Puts a supervisor together: which part gets which.

How a supervisor is put together from settings, its store and those who do the work.

How the pool is put together.

How the desks of performance and tuning are put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.home import Home
from supervisor.api.verbs import Desk
from supervisor.cluster.migration import Carrier, Drainer, MoveParts, Mover
from supervisor.cluster.router import ManyHosts
from supervisor.cluster.service import Greeter, HostsDesk, HostsParts
from supervisor.cluster.slots import Slots
from supervisor.git.service import Elsewhere, git_desk
from supervisor.metrics.autotune import SelfTuning
from supervisor.metrics.metrics import Meters
from supervisor.metrics.monitor import Monitor, Watched
from supervisor.metrics.service import Events, HistoryKeeper, PerformanceDesk, PerformanceParts, Watch
from supervisor.metrics.snapshot import Sources
from supervisor.pool.agents import MakerParts, SpareAgents, SpareMaker
from supervisor.pool.demand import OrderBook, this_boot
from supervisor.pool.placement import Seats, SeatsHere, SeatsOnHosts
from supervisor.pool.pool import Kept, Pool, PoolDesk
from supervisor.pool.worktrees import SpareWorktrees
from supervisor.recovery.gc import ClearingDesk, Collecting
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.settings.live import Tunables, Tuning
from supervisor.settings.service import TuningDesk
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.spawning.rollback import Undoing
from supervisor.spawning.spawner import Spawner, SpawnSettings, Starts
from supervisor.spawning.staff import Staff
from supervisor.spawning.start import ColdStart, WarmStart
from supervisor.store.base import StateStore
from supervisor.store.guards import Fence, Keeping
from supervisor.supervisor import Parts, Supervisor
from supervisor.team.adoption import Adoption, Batching, InstanceRules
from supervisor.team.lifecycle import Closing, Resuming
from supervisor.team.queries import Looking
from supervisor.team.recycling import Recycling, RecyclingRules
from supervisor.team.team import Roll


def make_pool(
    home: Home, settings: Settings, staff: Staff, roll: Roll, adoption: Adoption, *, store: StateStore
) -> Pool:
    seats: Seats = SeatsHere(staff.host, staff.room)
    if staff.roster is not None:
        seats = SeatsOnHosts(roll, staff.roster, staff.room)
    parts = MakerParts(
        home=home,
        host=staff.host,
        roll=roll,
        adoption=adoption,
        undoing=Undoing(roll, staff.host, staff.factory),
        room=staff.room,
        seats=seats,
        timeout_s=settings.spawn_timeout_s,
    )
    agents = SpareAgents(roll, staff, SpareMaker(parts), seats, settings.prewarm_instances)
    worktrees = SpareWorktrees(roll, staff, seats, settings.worktree_pool_size)
    book = OrderBook(Keeping(store, roll.unreadable), this_boot())
    return Pool(roll, staff.stock, Kept(seats=seats, agents=agents, worktrees=worktrees), book, settings.agent)


def performance_desks(home: Home, watched: Watched, keeper: HistoryKeeper, configured: Tuning) -> tuple[Desk, ...]:
    """``configured``: what applies without anything that was changed while a team ran."""
    meters = watched.roll.meters
    self_tuning = SelfTuning(watched.tunables, watched.permits, meters, watched.hosts)
    monitor, events = Monitor(watched), Events()
    performance = PerformanceDesk(
        PerformanceParts(
            monitor=monitor,
            meters=meters,
            keeper=keeper,
            unreadable=watched.roll.unreadable,
            events=events,
            watch=Watch(monitor, events),
            auto_steps=lambda: self_tuning.steps,
        )
    )
    return performance, TuningDesk(home, watched.tunables, self_tuning, configured)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What nearly every part stands on."""

    home: Home
    settings: Settings
    staff: Staff
    meters: Meters
    store: Fence
    roll: Roll
    tunables: Tunables
    adoption: Adoption
    undoing: Undoing
    work_dirs: WorkDirPolicy


def build_supervisor(home: Home, settings: Settings, staff: Staff, store: StateStore) -> Supervisor:
    """The supervisor over the given host, instances and state; ``recover`` it before the first verb."""
    ground = _ground(home, settings, staff, store)
    roll = ground.roll
    pool = _pool(ground)
    closing = Closing(roll, staff, ground.adoption, settings.spawn_timeout_s)
    keeper = HistoryKeeper(ground.meters, ground.store)
    return Supervisor(
        Parts(
            home=home,
            store=ground.store,
            roll=roll,
            permits=staff.permits,
            looking=Looking(roll, staff.host),
            spawner=_spawner(ground, pool),
            closing=closing,
            resuming=_resuming(ground, closing),
            recycling=_recycling(ground, closing),
            recovery=Recovery(roll, staff, ground.adoption, ground.undoing, closing),
            desks=_desks(ground, pool, closing, keeper),
            on_shutdown=lambda: _at_the_end(keeper, pool),
        )
    )


def _ground(home: Home, settings: Settings, staff: Staff, store: StateStore) -> _Ground:
    meters = Meters()
    fence = Fence(store, meters)
    roll = Roll(fence, _names(home), meters)
    tunables = Tunables(Tuning.of(settings))
    rules = InstanceRules(batching=Batching(tunables, roll), comes_back=settings.resumes)
    return _Ground(
        home=home,
        settings=settings,
        staff=staff,
        meters=meters,
        store=fence,
        roll=roll,
        tunables=tunables,
        adoption=Adoption(home, rules, staff.factory, roll),
        undoing=Undoing(roll, staff.host, staff.factory),
        work_dirs=WorkDirPolicy(
            home, Path.home(), settings.allowed_work_dirs, host=staff.roster.own if staff.roster else ""
        ),
    )


def _pool(ground: _Ground) -> Pool:
    staff = ground.staff
    pool = make_pool(ground.home, ground.settings, staff, ground.roll, ground.adoption, store=ground.store)
    ground.tunables.subscribe(pool.tuned)
    staff.room.give_up_spare = pool.give_back
    ground.roll.further_warnings.append(lambda: staff.room.warning)
    return pool


def _spawner(ground: _Ground, pool: Pool) -> Spawner:
    staff, roll = ground.staff, ground.roll
    settings = SpawnSettings(
        roll=roll,
        agent=ground.settings.agent,
        timeout_s=ground.settings.spawn_timeout_s,
        work_dirs=ground.work_dirs,
        allow_bypass=ground.settings.allow_bypass_permissions,
        roster=staff.roster,
    )
    cold = ColdStart(ground.home, staff, roll, ground.adoption, pool)
    return Spawner(
        settings, staff, ground.adoption, ground.undoing, Starts(warm=WarmStart(staff, roll, pool), cold=cold)
    )


def _resuming(ground: _Ground, closing: Closing) -> Resuming:
    resuming = Resuming(ground.roll, closing, ground.staff.permits, ground.settings.resume_limit)
    if ground.settings.resumes:
        ground.roll.on_failed = resuming.failed
    return resuming


def _recycling(ground: _Ground, closing: Closing) -> Recycling:
    settings = ground.settings
    rules = RecyclingRules(context_tokens=settings.recycle_context_tokens, tasks=settings.recycle_after_tasks)
    recycling = Recycling(ground.roll, closing, rules)
    ground.roll.on_reported = recycling.reported
    return recycling


def _desks(ground: _Ground, pool: Pool, closing: Closing, keeper: HistoryKeeper) -> tuple[Desk, ...]:
    settings, staff = ground.settings, ground.staff
    elsewhere = Elsewhere(ground.home.worktrees, staff.roster)
    git = git_desk(ground.tunables, staff.host, ground.work_dirs, ground.roll, elsewhere)
    watched = Watched(
        roll=ground.roll,
        store=ground.store,
        permits=staff.permits,
        hosts=staff.roster.linked if staff.roster else lambda: {"": staff.host},
        slots=staff.roster.slots if staff.roster else dict,
        tunables=ground.tunables,
        sources=Sources(git=lambda: git.figures, pools=lambda: pool.figures, no_memory=lambda: staff.room.warning),
    )
    return (
        git,
        ClearingDesk(ground.roll, Collecting(ground.home, ground.roll, staff.host, closing)),
        *performance_desks(ground.home, watched, keeper, Tuning.of(settings.configured)),
        _hosts_desk(ground, closing, pool),  # before the pool, which asks for its spares where they are
        PoolDesk(pool, ground.work_dirs, settings.spawn_timeout_s),
    )


def _hosts_desk(ground: _Ground, closing: Closing, pool: Pool) -> HostsDesk:
    staff, roll, roster = ground.staff, ground.roll, ground.staff.roster
    if roster is None:
        return HostsDesk(ground.home, roll, None)
    Slots(roll, roster).tell(staff, pool.look_again)
    hosts = ManyHosts(roster, ground.home.travel / "conversations")
    parts = MoveParts(
        roll=roll, roster=roster, hosts=hosts, factory=staff.factory, adoption=ground.adoption, closing=closing
    )
    return HostsDesk(
        ground.home,
        roll,
        HostsParts(
            roster=roster,
            carrier=Carrier(roll, hosts, ground.settings.save_interval_s),
            mover=Mover(parts),
            drainer=Drainer(parts),
            greeter=Greeter(roster),
        ),
    )


async def _at_the_end(keeper: HistoryKeeper, pool: Pool) -> None:
    await pool.give_up()
    await keeper.save()


def _names(home: Home) -> list[str]:
    """What instances and spares have left here; ids of an earlier team are not given again."""
    return [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
