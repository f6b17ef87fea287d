"""How the pool is put together."""

from __future__ import annotations

from actors.home import Home
from supervisor.keeping import Keeping
from supervisor.pool.agents import SpareAgents
from supervisor.pool.maker import MakerParts, SpareMaker
from supervisor.pool.orders import OrderBook, this_boot
from supervisor.pool.pool import Kept, Pool
from supervisor.pool.seats import Seats, SeatsHere, SeatsOnHosts
from supervisor.pool.worktrees import SpareWorktrees
from supervisor.recovering.adoption import Adoption
from supervisor.settings import Settings
from supervisor.spawning.staff import Staff
from supervisor.spawning.undoing import Undoing
from supervisor.store import StateStore
from supervisor.team.roll import Roll


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
