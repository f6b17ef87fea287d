"""Keeps the status line of the team's terminals up to date: how many instances need somebody, and who is first.

The supervisor begins ``NeedingLine`` with its services. It looks at the team after a change, at most every
``SETTLE_S``, and tells each host only what differs from what that host shows; a team that rests costs nothing. The
hosts show it in every session and offer a key that goes from one to the next (``TmuxServer.show_needing``), which works
on with what was told last while no supervisor runs. On another host of a cluster the key finds those that are there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from actors.backoff import LastingProblem
from actors.concurrency import TaskSet
from actors.errors import PhalanxError
from actors.host.host import Host
from supervisor.api.verbs import Handler
from supervisor.metrics.monitor import Hosts
from supervisor.team.registry import Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

SETTLE_S = 0.2
AGAIN_S = 5.0
"""Until a host that did not take it is told again."""
_LONGEST = 40
"""Most characters of the names in the line: a terminal may be 80 wide, and the instance's own id stands there too."""


class Needing(NamedTuple):
    words: str
    """For the status line; empty while nobody needs somebody."""
    session_names: tuple[str, ...]
    """Of these, in the order of ``list``."""


class NeedingLine:
    """A ``VerbService`` without verbs. All in the supervisor's event loop."""

    def __init__(self, team: Team, hosts: Hosts) -> None:
        self._team = team
        self._hosts = hosts
        self._shown: dict[str, Needing] = {}
        """By host."""
        self._problem = LastingProblem(logger, "a status line does not show who needs somebody")
        self._tasks = TaskSet("status line")

    @property
    def verbs(self) -> dict[str, Handler]:
        return {}

    async def begin(self) -> None:
        self._tasks.begin(self._run())

    async def end(self) -> None:
        await self._tasks.end()

    async def _run(self) -> None:
        while True:
            needing = self._look()
            late = {name: host for name, host in self._hosts().items() if self._shown.get(name) != needing}
            if late:
                done = await asyncio.gather(*(self._show(name, host, needing) for name, host in late.items()))
                if all(done):
                    continue  # something may have changed meanwhile
            await self._team.changes.next(AGAIN_S if late else None)
            await asyncio.sleep(SETTLE_S)

    def _look(self) -> Needing:
        members = [each for each in self._team.registry if not each.terminated and self._team.needs_attention(each)]
        return Needing(in_words(members), tuple(member.record.session_name for member in members))

    async def _show(self, name: str, host: Host, needing: Needing) -> bool:
        """Whether the host shows it now."""
        try:
            await host.show_needing(*needing)
        except PhalanxError as error:
            self._problem.met(error)
            return False
        self._problem.over()
        self._shown[name] = needing
        return True


def in_words(members: list[Member]) -> str:
    """``2 need you: parser, docs``; empty for nobody. As many names as there is room for, but at least one."""
    if not members:
        return ""
    names = [member.record.name or member.record.instance_id for member in members]
    shown = names[:1]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > _LONGEST:
            break
        shown.append(name)
    more = [f"+{len(names) - len(shown)}"] if len(names) > len(shown) else []
    return f"{len(names)} {'needs' if len(names) == 1 else 'need'} you: {', '.join([*shown, *more])}"
