"""How a supervisor is put together from settings, its store and those who do the work."""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from supervisor.adoption import Adoption, InstanceRules
from supervisor.batching import Batching
from supervisor.closing import Closing
from supervisor.cold_start import ColdStart
from supervisor.collecting import Collecting
from supervisor.fence import Fence
from supervisor.git.desk import git_desk
from supervisor.hosts.desk import HostsDesk
from supervisor.looking import Looking
from supervisor.performance.assembly import performance_desks
from supervisor.performance.figures import Sources
from supervisor.performance.keeper import HistoryKeeper
from supervisor.performance.meters import Meters
from supervisor.performance.monitor import Watched
from supervisor.pool.assembly import make_pool
from supervisor.pool.desk import PoolDesk
from supervisor.pool.pool import Pool
from supervisor.recovery import Recovery
from supervisor.recycling import Recycling, RecyclingRules
from supervisor.registry import number_in
from supervisor.resuming import Resuming
from supervisor.roll import Roll
from supervisor.settings import Settings
from supervisor.spawner import Spawner, SpawnSettings, Starts
from supervisor.staff import Staff
from supervisor.store import StateStore
from supervisor.supervisor import Parts, Supervisor
from supervisor.tuning.tunables import Tunables
from supervisor.tuning.values import Tuning
from supervisor.undoing import Undoing
from supervisor.warm_start import WarmStart
from supervisor.work_dirs import WorkDirPolicy


def build_supervisor(home: Home, settings: Settings, staff: Staff, store: StateStore) -> Supervisor:
    """The supervisor over the given host, instances and state; ``recover`` it before the first verb."""
    meters = Meters()
    fence = Fence(store, meters)
    roll = Roll(fence, _last_number(home), meters)
    tunables = Tunables(Tuning.of(settings))
    resumes = settings.on_agent_failure == "resume"
    adoption = Adoption(home, InstanceRules(batching=Batching(tunables, roll), comes_back=resumes), staff.factory, roll)
    undoing = Undoing(roll, staff.host, staff.factory)
    work_dirs = WorkDirPolicy(home, Path.home(), settings.allowed_work_dirs)
    spawn_settings = SpawnSettings(
        roll=roll,
        agent=settings.agent,
        timeout_s=settings.spawn_timeout_s,
        work_dirs=work_dirs,
        roster=staff.roster,
    )
    pool = make_pool(home, settings, staff, roll, adoption)
    tunables.subscribe(pool.tuned)
    staff.room.give_up_spare = pool.give_back
    roll.further_warnings.append(lambda: staff.room.warning)
    starts = Starts(warm=WarmStart(staff, roll, pool), cold=ColdStart(home, staff, roll, adoption, pool))
    closing = Closing(roll, staff, adoption, settings.spawn_timeout_s)
    resuming = Resuming(roll, closing, staff.permits, settings.resume_limit)
    rules = RecyclingRules(context_tokens=settings.recycle_context_tokens, tasks=settings.recycle_after_tasks)
    recycling = Recycling(roll, closing, rules)
    roll.on_reported = recycling.reported
    if resumes:
        roll.on_failed = resuming.failed
    git = git_desk(tunables, staff.host, work_dirs, meters)
    keeper = HistoryKeeper(meters, fence)
    watched = Watched(
        roll=roll,
        store=fence,
        permits=staff.permits,
        hosts=staff.roster.linked if staff.roster else lambda: {"": staff.host},
        tunables=tunables,
        sources=Sources(git=lambda: git.figures, pools=lambda: pool.figures),
    )
    return Supervisor(
        Parts(
            home=home,
            store=fence,
            roll=roll,
            permits=staff.permits,
            looking=Looking(roll, staff.host),
            spawner=Spawner(spawn_settings, staff, adoption, undoing, starts),
            closing=closing,
            collecting=Collecting(home, roll, staff.host, closing),
            resuming=resuming,
            recycling=recycling,
            recovery=Recovery(roll, staff, adoption, undoing, closing),
            desks=(
                git,
                *performance_desks(home, watched, keeper, Tuning.of(settings.configured)),
                PoolDesk(pool, work_dirs, settings.spawn_timeout_s),
                HostsDesk(home, roll, staff, closing, settings.save_interval_s),
            ),
            on_shutdown=lambda: _at_the_end(keeper, pool),
        )
    )


async def _at_the_end(keeper: HistoryKeeper, pool: Pool) -> None:
    await pool.give_up()
    await keeper.save()


def _last_number(home: Home) -> int:
    """Of the instances that this home has had; ids of an earlier team are not given again."""
    names = [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
    return max(map(number_in, names), default=0)
