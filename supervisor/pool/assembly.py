"""How the pool is put together."""

from __future__ import annotations

from actors.home import Home
from supervisor.pool.agents import SpareAgents
from supervisor.pool.maker import MakerParts, SpareMaker
from supervisor.pool.pool import Pool
from supervisor.pool.worktrees import SpareWorktrees
from supervisor.recovering.adoption import Adoption
from supervisor.settings import Settings
from supervisor.spawning.staff import Staff
from supervisor.spawning.undoing import Undoing
from supervisor.team.roll import Roll


def make_pool(home: Home, settings: Settings, staff: Staff, roll: Roll, adoption: Adoption) -> Pool:
    parts = MakerParts(
        home=home,
        host=staff.host,
        roll=roll,
        adoption=adoption,
        undoing=Undoing(roll, staff.host, staff.factory),
        room=staff.room,
        timeout_s=settings.spawn_timeout_s,
    )
    agents = SpareAgents(roll, staff, SpareMaker(parts), settings.prewarm_instances)
    worktrees = SpareWorktrees(roll, staff, settings.worktree_pool_size)
    return Pool(roll, staff.stock, agents, worktrees, settings.agent)
