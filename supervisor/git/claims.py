"""Whose files a merge or sync may change now, and that nothing else is done with these instances meanwhile.

Nobody's files change while it is at work. Before a commit, a sync or the move of a branch that it has checked out, an
instance must be between two turns. Until that is done, messages to it wait, and it is neither started, ended nor
recycled. The caller itself is always at work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from supervisor.api.verbs import Caller
from supervisor.team.queries import is_done
from supervisor.team.registry import Member
from supervisor.team.team import Team


class Claims:
    def __init__(self, team: Team) -> None:
        self._team = team

    def who_works_here(self) -> Sequence[Member]:
        """Those on this host."""
        return [each for each in self._team.registry if not each.terminated and not each.record.elsewhere]

    def is_free(self, member: Member, caller: Caller) -> bool:
        """Its files may change: it is between two turns, or it is the caller, and nothing else is done with it."""
        instance_id = member.record.instance_id
        rests = instance_id == caller.instance_id or not member.alive or is_done(self._team, member)
        return rests and not member.turn.locked() and not self._team.outbox.is_withheld(instance_id)

    @asynccontextmanager
    async def undisturbed(self, members: Iterable[Member]) -> AsyncIterator[None]:
        """Inside, none of these begins a turn. Call it without an await since they were found free."""
        async with AsyncExitStack() as held:
            for member in members:
                await held.enter_async_context(member.turn)  # at once: who is free has its turn free
                held.enter_context(self._team.outbox.withheld(member.record.instance_id, but=""))
            yield
