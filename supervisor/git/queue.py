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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from actors.errors import InvalidRequestError, PhalanxError
from actors.git import model
from actors.git.model import READS, GitRequest, GitResponse, Operation, RepositoryPaths
from supervisor.api.results import public_error
from supervisor.git.params import base_of
from supervisor.git.scheduling import AnswerCache, GitRead, ReadScheduler, WriteScheduler
from supervisor.metrics.metrics import Count, MetricsRecorder
from supervisor.ports import GitPort
from supervisor.spawning.admission import FairSemaphore

Mode = Literal["look", "add", "change"]
"""``look`` goes with ``look`` and ``add`` with ``add``: two new branches do not disturb each other, but a list of all
branches must know which of them were there."""
Thing = tuple[object, ...]


@dataclass(slots=True)
class _Group:
    """Operations that touch a thing at the same time, after all those of the group before."""

    mode: Mode
    members: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)


def dependencies(batch: Sequence[tuple[Operation, RepositoryPaths] | None]) -> list[frozenset[int]]:
    """For each operation the earlier ones that must be done first; None stands for one that is not run."""
    groups: dict[Thing, _Group] = {}
    found = []
    for number, member in enumerate(batch):
        waits_for: set[int] = set()
        for thing, mode in _touched(*member) if member else ():
            group = groups.get(thing)
            if group is None or group.mode != mode or mode == "change":
                group = groups[thing] = _Group(mode, before=group.members if group else [])
            group.members.append(number)
            waits_for.update(group.before)
        found.append(frozenset(waits_for - {number}))
    return found


def _touched(operation: Operation, place: RepositoryPaths) -> Iterator[tuple[Thing, Mode]]:
    if isinstance(operation, model.READS):
        return ((thing, "look") for thing in _looked_at(operation, place))
    return _written(operation, place)


def _looked_at(read: model.Read, place: RepositoryPaths) -> tuple[Thing, ...]:
    head, tree, moves, names = _things(place)
    match read:
        case model.ReadStatus() | model.ReadDiff(base=None):
            return head, tree
        case model.ReadLog(revision=None):
            return (head,)
        case model.ReadDiff():
            return head, tree, moves, names
        case _:
            return head, moves, names


def _written(write: model.Write, place: RepositoryPaths) -> Iterator[tuple[Thing, Mode]]:
    head, tree, moves, names = _things(place)
    match write:
        case model.CreateRef():
            yield from _of_new(write.name, write.start, place)
            yield from ((head, "look"), (names, "add"))
        case model.Checkout():
            yield from _of_new(write.branch, write.start, place)
            yield from ((head, "change"), (tree, "change"), (moves, "change"), (names, "add"))
        case model.Commit():
            yield from ((head, "change"), (tree, "change"), (moves, "add"))
        case model.DeleteBranch():
            yield from ((moves, "look"), (names, "change"))
        case model.Merge():
            yield from ((head, "change"), (tree, "change"), (moves, "change"), (names, "look"))


def _things(place: RepositoryPaths) -> tuple[Thing, Thing, Thing, Thing]:
    """What is checked out and the files of a working tree; where branches are and which there are in a repository."""
    tree, repository = place.git_directory, place.common_directory
    return ("head", tree), ("tree", tree), ("moves", repository), ("names", repository)


def _of_new(name: str, start: str | None, place: RepositoryPaths) -> Iterator[tuple[Thing, Mode]]:
    own: Thing = ("name", place.common_directory, name)
    yield own, "change"
    if start is not None:
        other: Thing = ("name", place.common_directory, base_of(start))
        if other != own:
            yield other, "look"
        yield ("moves", place.common_directory), "look"


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
    ) -> list[GitRead]:
        """The answers in the order asked; an error stands for a request that was refused before, and is its answer.

        ``on_done`` is told the number of each."""
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
        answers: list[asyncio.Task[GitRead]] = []
        reads: dict[tuple[GitRequest | PhalanxError, frozenset[int]], asyncio.Task[GitRead]] = {}
        try:
            for number, (each, waits_for) in enumerate(zip(asked, order, strict=True)):
                task = reads.get((each, waits_for))
                if task is None:
                    earlier = {answers[before] for before in waits_for}
                    answer = self._answer(caller, each, places, earlier, is_awaited=number in awaited)
                    task = asyncio.create_task(answer, name="git operation")
                    if isinstance(each, GitRequest) and isinstance(each.operation, READS):
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
        earlier: Collection[asyncio.Task[GitRead]],
        *,
        is_awaited: bool,
    ) -> GitRead:
        if isinstance(asked, PhalanxError):
            return _refused(asked)
        if earlier:
            await asyncio.wait(earlier)
        try:
            return await self._run(caller, asked, places.get(asked.directory), is_awaited=is_awaited)
        except Exception as error:  # noqa: BLE001 - told and logged
            return _refused(public_error(error, "This operation"))

    async def _run(self, caller: str, asked: GitRequest, place: RepositoryPaths | None, *, is_awaited: bool) -> GitRead:
        if place is None:
            raise InvalidRequestError(f"{asked.directory} is in no git repository: give a directory of one.")
        if isinstance(asked.operation, READS):
            return await self._reads.answer(caller, asked.directory, asked.operation)
        # git acts on all of the repository, however far above the directory that begins.
        self._check(place.top or place.common_directory)
        outcome = await self._writes.write(caller, place.common_directory, asked, is_awaited=is_awaited)
        return GitRead(outcome=outcome, result=outcome.result)

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

    def _answered(self, on_done: Callable[[int], None], number: int, answer: asyncio.Task[GitRead]) -> None:
        if not answer.cancelled():
            self._recorder.count(Count.GIT_ANSWERED)
            self._recorder.count(Count.GIT_FAILED, int(answer.result().outcome.error is not None))
            on_done(number)


def _refused(error: PhalanxError) -> GitRead:
    return GitRead(outcome=GitResponse.refused(error), result=None)
