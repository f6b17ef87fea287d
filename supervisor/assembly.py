"""How a supervisor is put together from settings and those who do the work."""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from actors.inbox import BatchLimits
from supervisor.closing import Closing
from supervisor.roll import Roll
from supervisor.settings import Settings
from supervisor.spawner import Spawner, SpawnSettings, Staff
from supervisor.store.memory import MemoryStore
from supervisor.supervisor import Parts, Supervisor
from supervisor.work_dirs import WorkDirPolicy


def build_supervisor(home: Home, settings: Settings, staff: Staff) -> Supervisor:
    """The supervisor over the given host and instances."""
    store = MemoryStore()
    roll = Roll(store, _last_number(home))
    spawn_settings = SpawnSettings(
        agent=settings.agent,
        limits=BatchLimits(size=settings.message_batch_size, delay_s=settings.message_batch_delay / 1000),
        timeout_s=settings.spawn_timeout_s,
    )
    policy = WorkDirPolicy(home, Path.home(), settings.allowed_work_dirs)
    spawner = Spawner(home, spawn_settings, staff, roll, policy)
    closing = Closing(roll, staff, spawner, settings.spawn_timeout_s)
    return Supervisor(Parts(home=home, store=store, roll=roll, permits=staff.permits, spawner=spawner, closing=closing))


def _last_number(home: Home) -> int:
    """Of the instances that this home has had; ids of an earlier team are not given again."""
    names = [entry.name for directory in (home.instances, home.worktrees) for entry in directory.iterdir()]
    numbers = [name.rpartition("_")[2] for name in names]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)
