"""Runs the operations of all callers of ``git_batch`` on one host, each as soon as nothing before it is in its way.

Promises: at most as many gits run at once as there are permits; one writes in a repository at a time; the results of a
batch are those of running its operations one after another in the order given, as far as one can see another's doing;
a failing operation fails alone. So two operations overlap only when they touch nothing in common, or both only look at
it. What a ``status`` tells about the distance to an upstream branch is left out of that.

``GitService`` has a queue for each host. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from actors.errors import InvalidRequestError, PhalanxError, from_wire
from actors.git import model
from actors.git.model import GitRequest, GitResponse, Operation, Read, RepositoryPaths
from supervisor.api.failures import told
from supervisor.git.params import base_of
from supervisor.git.scheduling import AnswerCache, ReadScheduler, WriteScheduler
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from supervisor.ports import GitPort
from supervisor.spawning.admission import FairSemaphore

_Mode = Literal["look", "add", "change"]
"""``look`` goes with ``look`` and ``add`` with ``add``: two new branches do not disturb each other, but a list of all
branches must know which of them were there."""
_Thing = tuple[object, ...]


@dataclass(slots=True)
class _Group:
    """Operations that touch a thing at the same time, after all those of the group before."""

    mode: _Mode
    members: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)


def dependencies(batch: Sequence[tuple[Operation, RepositoryPaths] | None]) -> list[frozenset[int]]:
    """For each operation the earlier ones that must be done first; None stands for one that is not run."""
    groups: dict[_Thing, _Group] = {}
    found = []
    for number, member in enumerate(batch):
        waits_for: set[int] = set()
        for thing, mode in _touched(*member).items() if member else ():
            group = groups.get(thing)
            if group is None or group.mode != mode or mode == "change":
                group = groups[thing] = _Group(mode, before=group.members if group else [])
            group.members.append(number)
            waits_for.update(group.before)
        found.append(frozenset(waits_for))
    return found


def _touched(operation: Operation, place: RepositoryPaths) -> dict[_Thing, _Mode]:
    """A working tree has a HEAD and files. A repository has branches, which move, and names of branches and tags."""
    repository = place.common_directory
    head, files = ("head", place.git_directory), ("files", place.git_directory)
    moves, names = ("moves", repository), ("names", repository)
    touched: dict[_Thing, _Mode]
    match operation:
        case model.ReadStatus() | model.ReadDiff(base=None):
            touched = {head: "look", files: "look"}
        case model.ReadLog(revision=None):
            touched = {head: "look"}
        case model.ReadDiff():
            touched = {head: "look", files: "look", moves: "look", names: "look"}
        case model.CreateRef():
            touched = {**_touched_by_new(operation.name, operation.start, repository), head: "look", names: "add"}
        case model.Checkout():
            new = _touched_by_new(operation.branch, operation.start, repository)
            touched = {**new, head: "change", files: "change", moves: "change", names: "add"}
        case model.Commit():
            touched = {head: "change", files: "change", moves: "add"}
        case model.DeleteBranch():
            touched = {moves: "look", names: "change"}
        case model.Merge():
            touched = {head: "change", files: "change", moves: "change", names: "look"}
        case _:
            touched = {head: "look", moves: "look", names: "look"}
    return touched


def _touched_by_new(name: str, start: str | None, repository: Path) -> dict[_Thing, _Mode]:
    own: _Thing = ("name", repository, name)
    if start is None:
        return {own: "change"}
    return {("name", repository, base_of(start)): "look", ("moves", repository): "look", own: "change"}


_MOST_PLACES = 10_000


class GitQueue:
    def __init__(
        self,
        host: GitPort,
        permits: FairSemaphore,
        cache: AnswerCache,
        recorder: MetricsRecorder,
        check: Callable[[Path], object],
    ) -> None:
        """``check`` gets the root of a repository and raises when that may not be written in."""
        self.permits = permits
        self.cache = cache
        self._host = host
        self._recorder = recorder
        self._check = check
        self._reads = ReadScheduler(host, permits, cache, recorder)
        self._writes = WriteScheduler(host, permits, recorder)
        self._places: dict[Path, RepositoryPaths] = {}
        self._calls = itertools.count()

    @property
    def waiting(self) -> int:
        """Operations that have not begun."""
        return self._reads.waiting + self._writes.waiting

    async def end(self) -> None:
        await self._reads.end()
        await self._writes.end()

    async def run(
        self, asked: Sequence[GitRequest | PhalanxError], on_done: Callable[[int], None] = lambda number: None
    ) -> list[GitResponse]:
        """The answers in the order asked; an error stands for a request that was refused before, and is its answer.

        An answer that is ``unchanged`` has the result of the earlier one. ``on_done`` is told the number of each."""
        places = await self._find_places({each.directory for each in asked if isinstance(each, GitRequest)})
        order = dependencies(
            [
                (each.operation, places[each.directory])
                if isinstance(each, GitRequest) and each.directory in places
                else None
                for each in asked
            ]
        )
        awaited = frozenset().union(*order)
        caller = f"call {next(self._calls)}"
        answers: list[asyncio.Task[GitResponse]] = []
        reads: dict[tuple[GitRequest | PhalanxError, frozenset[int]], asyncio.Task[GitResponse]] = {}
        try:
            for number, (each, waits_for) in enumerate(zip(asked, order, strict=True)):
                task = reads.get((each, waits_for))
                if task is None:
                    earlier = {answers[before] for before in waits_for}
                    answer = self._answer(caller, each, places, earlier, is_awaited=number in awaited)
                    task = asyncio.create_task(answer, name="git operation")
                    if isinstance(each, GitRequest) and isinstance(each.operation, Read):
                        reads[each, waits_for] = task
                answers.append(task)
                task.add_done_callback(partial(self._answered, on_done, number))
            return await asyncio.gather(*answers)
        finally:
            for task in answers:
                task.cancel()

    async def _answer(
        self,
        caller: str,
        asked: GitRequest | PhalanxError,
        places: Mapping[Path, RepositoryPaths],
        earlier: Collection[asyncio.Task[GitResponse]],
        *,
        is_awaited: bool,
    ) -> GitResponse:
        if isinstance(asked, PhalanxError):
            return GitResponse.refused(asked)
        if earlier:
            await asyncio.wait(earlier)
        begun = time.monotonic()
        try:
            answer = await self._run(caller, asked, places.get(asked.directory), is_awaited=is_awaited)
        except Exception as error:  # noqa: BLE001 - told and logged
            return GitResponse.refused(from_wire(told(error, "This operation")))
        self._recorder.observe(Timing.GIT_WAIT, max(0.0, time.monotonic() - begun - answer.took_s))
        return answer

    async def _run(
        self, caller: str, asked: GitRequest, place: RepositoryPaths | None, *, is_awaited: bool
    ) -> GitResponse:
        if place is None:
            raise InvalidRequestError(f"{asked.directory} is in no git repository: give a directory of one.")
        if isinstance(asked.operation, Read):
            return await self._reads.answer(caller, asked.directory, asked.operation)
        # git acts on all of the repository, however far above the directory that begins.
        self._check(place.top or place.common_directory)
        return await self._writes.write(caller, place.common_directory, asked, is_awaited=is_awaited)

    async def _find_places(self, directories: set[Path]) -> dict[Path, RepositoryPaths]:
        """Of those that are in a repository. A place that is known may be out of date: then the host, which looks
        again, still does what is right, only the order is not what it might be."""
        unknown = [directory for directory in directories if directory not in self._places]
        if len(self._places) + len(unknown) > _MOST_PLACES:
            self._places.clear()
            unknown = list(directories)
        found = await self._host.git_places(unknown) if unknown else ()
        self._places.update((each, place) for each, place in zip(unknown, found, strict=True) if place is not None)
        return {each: self._places[each] for each in directories if each in self._places}

    def _answered(self, on_done: Callable[[int], None], number: int, answer: asyncio.Task[GitResponse]) -> None:
        if not answer.cancelled():
            self._recorder.count(Count.GIT_ANSWERED)
            self._recorder.count(Count.GIT_FAILED, int(answer.result().error is not None))
            on_done(number)
