"""The writes of all callers: one at a time in a repository, callers in turn; new branches and tags together.

While a repository is being written, what else is to be written there gathers, and goes to the host at once when it is
its turn: new branches and tags in one transaction of git, all else one after another, for as long as it is quick. One
that others wait for is the last of its call, because what became of it is told when the call is done. A write that has
begun is not cut off: whoever asked may go away, its turn and its permit are kept until it is done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from actors.concurrency import Background
from actors.errors import UnavailableError
from actors.git.values import Asked, CreateRef, Outcome
from supervisor.git.figures import GitFigures
from supervisor.git.settling import settle, settle_error
from supervisor.permits import Permits
from supervisor.ports import GitPort

MOST_NEW_REFS = 200
MOST_OTHERS = 8
"""In one call of the host."""


@dataclass(eq=False, slots=True)
class _Wanted:
    caller: str
    asked: Asked
    is_awaited: bool
    """By other operations."""
    done: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: bool = False


class Writes:
    """All in the supervisor's event loop. A repository is named by its common git directory."""

    def __init__(self, host: GitPort, permits: Permits, figures: GitFigures) -> None:
        self._host = host
        self._permits = permits
        self._figures = figures
        self._wanted: dict[Path, deque[_Wanted]] = {}
        self._writers = Background("git writes")

    @property
    def waiting(self) -> int:
        return sum(map(len, self._wanted.values()))

    async def write(self, caller: str, repository: Path, asked: Asked, *, is_awaited: bool = False) -> Outcome:
        """Raises ``UnavailableError``; then it may have been done or not."""
        wanted = _Wanted(caller, asked, is_awaited)
        if repository in self._wanted:
            self._wanted[repository].append(wanted)
        else:
            self._wanted[repository] = deque([wanted])
            self._writers.begin(self._serve(repository))
        try:
            return await asyncio.shield(wanted.done)
        except asyncio.CancelledError:
            if not wanted.begun:
                wanted.done.cancel()
            raise

    async def end(self) -> None:
        for wanted in (each for queue in self._wanted.values() for each in queue):
            wanted.done.cancel()
        await self._writers.end()

    async def _serve(self, repository: Path) -> None:
        queue = self._wanted[repository]
        while queue:
            async with self._permits.hold(str(repository)):
                if taken := _take(queue):
                    await self._run(taken, queue)
        del self._wanted[repository]

    async def _run(self, taken: list[_Wanted], queue: deque[_Wanted]) -> None:
        try:
            outcomes = await self._host.git_write([wanted.asked for wanted in taken])
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for wanted in taken:
                settle_error(wanted.done, _of_unknown_outcome(error))
            return
        self._figures.transactions += any(isinstance(wanted.asked.operation, CreateRef) for wanted in taken)
        for wanted, outcome in reversed(list(zip(taken, outcomes, strict=True))):
            if outcome is None:
                wanted.begun = False
                queue.appendleft(wanted)
            else:
                self._figures.count(outcome)
                settle(wanted.done, outcome)


def _of_unknown_outcome(error: Exception) -> Exception:
    if not isinstance(error, UnavailableError):
        return error
    return UnavailableError(
        f"{error} Whether this was done is not known, git may even be at it still: look with status, log or branch."
    )


def _take(queue: deque[_Wanted]) -> list[_Wanted]:
    """What goes together; in it no ref comes twice. Those whose callers have gone away are left out."""
    refs: set[str] = set()
    taken: list[_Wanted] = []
    left: list[_Wanted] = []
    others, most = 0, MOST_OTHERS
    for wanted in _in_turns(each for each in queue if not each.done.done()):
        operation = wanted.asked.operation
        if isinstance(operation, CreateRef):
            fits = operation.ref not in refs and len(refs) < MOST_NEW_REFS
            refs.add(operation.ref)
        else:
            fits = others < most
            others += fits
            most = others if fits and wanted.is_awaited else most
        wanted.begun = fits
        (taken if fits else left).append(wanted)
    queue.clear()
    queue.extend(left)
    return taken


def _in_turns(queue: Iterable[_Wanted]) -> Iterator[_Wanted]:
    """The first of each caller, then the second of each."""
    lines: dict[str, list[_Wanted]] = {}
    for wanted in queue:
        lines.setdefault(wanted.caller, []).append(wanted)
    for step in zip_longest(*lines.values()):
        yield from filter(None, step)
