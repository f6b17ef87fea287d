"""git on other hosts of a team: in the worktrees of the instances that are there, each host with a queue of its own.

Paths of two hosts look alike, and so do their repositories: nothing of one is kept or put in order with the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from actors.errors import InvalidRequestError
from actors.git.values import Asked, Outcome, Place
from supervisor.git.queue import GitQueue
from supervisor.hosts.roster import Roster
from supervisor.ports import GitPort

MakeQueue = Callable[[GitPort, Callable[[Path], object]], GitQueue]


class Elsewhere:
    """All in the supervisor's event loop."""

    def __init__(self, worktrees: Path, roster: Roster | None) -> None:
        """``worktrees``: root of those of every host. ``roster``: None on one machine, where nothing is elsewhere."""
        self._worktrees = worktrees
        self._roster = roster
        self.queues: dict[str, GitQueue] = {}

    def host_of(self, directory: str) -> str:
        """Empty for what is on this host, or nowhere."""
        path = Path(directory)
        if self._roster is None or ".." in path.parts or not path.is_relative_to(self._worktrees):
            return ""
        below = path.relative_to(self._worktrees).parts
        host = self._roster.places.get(below[0].partition("-")[0], "") if below else ""
        return "" if host == self._roster.own else host

    def queue(self, host: str, make: MakeQueue) -> GitQueue:
        if host not in self.queues and self._roster is not None:
            self.queues[host] = make(_OtherHost(host, self._roster, self._worktrees), self._check)
        return self.queues[host]

    def _check(self, root: Path) -> None:
        if not _is_in(root, self._worktrees):
            raise InvalidRequestError(f"The repository of workspaceDir, {root}, is none of an instance of that host.")


def _is_in(root: Path, worktrees: Path) -> bool:
    """``root`` is a real path."""
    return root.is_relative_to(worktrees) or root.is_relative_to(worktrees.resolve())


class _OtherHost:
    """A ``GitPort``."""

    def __init__(self, name: str, roster: Roster, worktrees: Path) -> None:
        self._name = name
        self._roster = roster
        self._worktrees = worktrees

    async def git_places(self, directories: Sequence[Path]) -> tuple[Place | None, ...]:
        """A link that leads out of the worktrees leads nowhere."""
        places = await (await self._roster.link(self._name)).git_places(directories)
        return tuple(place if place is None or self._is_below(place) else None for place in places)

    def _is_below(self, place: Place) -> bool:
        return place.top is not None and _is_in(place.top, self._worktrees)

    async def git_read(self, asked: Sequence[Asked]) -> tuple[Outcome, ...]:
        return await (await self._roster.link(self._name)).git_read(asked)

    async def git_write(self, asked: Sequence[Asked]) -> tuple[Outcome | None, ...]:
        return await (await self._roster.link(self._name)).git_write(asked)
