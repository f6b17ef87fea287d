"""Keeps the status line of the team's terminals up to date: how many instances need somebody, and who is first.

The supervisor begins ``NeedingLine`` with its services. It looks at the team after a change, at most every
``SETTLE_S``, and tells each host only what differs from what that host shows; a team that rests costs nothing. Each
host is told by a task of its own, so that one that hangs holds up no other. A host is told again when an agent has
started there, because host and tmux server may be new since.

The hosts show it in every session and offer a key that goes from one to the next (``TmuxServer.show_needing``), which
works on with what was told last while no supervisor runs. On another host of a cluster the key finds those that are
there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from actors.backoff import LastingProblem
from actors.concurrency import ChangeNotifier, TaskSet
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


class _Shown(NamedTuple):
    needing: Needing
    agents: frozenset[tuple[str, int]]
    """Those of the host that had started by then, by session and process."""


class NeedingLine:
    """A ``VerbService`` without verbs. All in the supervisor's event loop."""

    def __init__(self, team: Team, hosts: Hosts) -> None:
        self._team = team
        self._hosts = hosts
        self._needing = Needing("", ())
        self._looked = ChangeNotifier()
        self._telling: dict[str, tuple[Host, asyncio.Task[None]]] = {}
        """By host, with the task that tells it."""
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
            self._needing = self._look()
            self._follow_hosts()
            self._looked.announce()
            await self._team.changes.next(None)
            await asyncio.sleep(SETTLE_S)

    def _follow_hosts(self) -> None:
        hosts = self._hosts()
        for name, (host, task) in tuple(self._telling.items()):
            if hosts.get(name) is not host:
                task.cancel()
                del self._telling[name]
        for name in hosts.keys() - self._telling.keys():
            task = asyncio.create_task(self._keep_told(name, hosts[name]), name=f"status line of {name}")
            self._tasks.keep(task)
            self._telling[name] = hosts[name], task

    async def _keep_told(self, name: str, host: Host) -> None:
        problem = LastingProblem(logger, "a status line does not show who needs somebody")
        shown: _Shown | None = None
        while True:
            wanted = _Shown(self._needing, self._agents_on(name))
            if shown is not None and _is_still_shown(wanted, shown):
                await self._looked.next(None)
                continue
            try:
                await host.show_needing(*wanted.needing)
            except PhalanxError as error:
                problem.met(error)
                await self._looked.next(AGAIN_S)
            else:
                problem.over()
                shown = wanted

    def _look(self) -> Needing:
        members = [each for each in self._team.registry if not each.terminated and self._team.needs_attention(each)]
        return Needing(in_words(members), tuple(member.record.session_name for member in members))

    def _agents_on(self, host: str) -> frozenset[tuple[str, int]]:
        records = [each.record for each in self._team.registry if each.record.host == host]
        return frozenset((record.session_name, record.pid) for record in records if record.pid)


def _is_still_shown(wanted: _Shown, shown: _Shown) -> bool:
    if wanted.needing != shown.needing:
        return False
    return not wanted.needing.words or wanted.agents <= shown.agents  # a new server shows nobody


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
