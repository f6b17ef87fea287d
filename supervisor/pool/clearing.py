"""Clears away what hosts have of spares that are nobody's: of an earlier supervisor, or of an earlier stay of theirs.

Used by ``SpareWorktrees``, which asks before it makes any. Each host is looked over once while it is there; one that
does not answer, or on which something stays, is looked over again after pauses that grow, and holds up no other. While
a record cannot be read nothing is cleared, since it may be that of an instance which was a spare. All in the
supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging

from actors.concurrency import Background
from actors.errors import PhalanxError, WorkspaceError
from actors.worktrees.model import Leftover
from supervisor.backoff import Tries
from supervisor.pool.seats import Seats
from supervisor.ports import HostPort
from supervisor.team.instance_record import SPARE_PREFIX
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)

_PATIENCE_S = 10.0
"""Spares are made beside what takes longer."""
_AGAIN_S = 20.0
_MOST_S = 1800.0


class Clearing:
    def __init__(self, roll: Roll, seats: Seats) -> None:
        self._roll = roll
        self._seats = seats
        self._cleared: set[str] = set()
        self._looking: set[str] = set()
        self._tries = Tries[str](_AGAIN_S, _MOST_S)
        self._work = Background("clear spares away")

    def look_again(self) -> None:
        """Something may be left on a host that was cleared."""
        self._cleared.clear()

    async def look(self) -> None:
        """Begins with all hosts that are to be looked over now, and waits for them a little."""
        self._cleared &= self._seats.linked
        if self._roll.unreadable.instance_ids:
            return
        now = asyncio.get_running_loop().time()
        due = [host for host in self._seats.linked - self._cleared - self._looking if self._tries.may(host, now)]
        looks = [asyncio.create_task(self._look_over(host)) for host in due]
        for look in looks:
            self._work.keep(look)
        if looks:
            await asyncio.wait(looks, timeout=_PATIENCE_S)

    async def end(self) -> None:
        await self._work.end()

    async def _look_over(self, host: str) -> None:
        self._looking.add(host)
        # First, so that what is left meanwhile is found by the next look.
        self._cleared.add(host)
        cleared = False
        try:
            cleared = await self._clear(host)
        except PhalanxError as error:
            logger.warning("what is left of spares%s cannot be cleared away now: %s", _on(host), error)
        finally:
            self._looking.discard(host)
            self._note(host, cleared=cleared)

    def _note(self, host: str, *, cleared: bool) -> None:
        if cleared:
            self._tries.worked(host)
        else:
            self._cleared.discard(host)
            self._tries.failed(host, asyncio.get_running_loop().time())

    async def _clear(self, host: str) -> bool:
        """Whether nothing stays that should go."""
        link = await self._seats.link(host)
        stays = set()
        for leftover in await link.leftovers(self._names()):
            if self._is_ours(host, leftover) and not await _goes(link, leftover):
                stays.add(leftover.path.name)
        for name in await link.instance_directories():
            known = {member.record.place for member in self._roll.registry.everyone()}
            if name.startswith(SPARE_PREFIX) and name not in known | stays:
                await link.forget_instance(name)
        return not stays

    def _is_ours(self, host: str, leftover: Leftover) -> bool:
        """What is left of an instance on another host is for ``phalanx gc``."""
        name = leftover.path.name
        elsewhere = host != self._seats.own
        return name.startswith(SPARE_PREFIX) and name not in self._names() and not (elsewhere and leftover.branch)

    def _names(self) -> set[str]:
        return self._roll.registry.worktree_names()


async def _goes(link: HostPort, leftover: Leftover) -> bool:
    """False: it is in use, or is no worktree (any more)."""
    try:
        return (await link.collect_leftover(leftover)).removed
    except WorkspaceError as error:
        logger.warning("%s cannot be cleared away: %s", leftover.path, error)
        return False


def _on(host: str) -> str:
    return f" on {host}" if host else ""
