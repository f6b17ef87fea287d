"""Runs the operations of all callers of ``git_batch`` on one host, each as soon as nothing before it is in its way.

Promises: at most as many gits run at once as there are permits; one writes in a repository at a time; the results of a
batch are those of running its operations one after another in the order given, as far as one can see another's doing;
a failing operation fails alone. So two operations overlap only when they touch nothing in common, or both only look at
it. What a ``status`` tells about the distance to an upstream branch is left out of that.

A read that is under way is not shared: it may have looked before something that the later caller has seen already. A
write that has begun is not cut off: its caller may go away, its turn and its permit are kept until it is done. Which
reads and writes go to the host together: docs/internals.md, "git for many".

``GitService`` has a queue for each host. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice, zip_longest
from math import ceil
from pathlib import Path
from typing import Literal, TypeVar

from cachetools import TTLCache

from actors.concurrency import TaskSet
from actors.errors import InvalidRequestError, PhalanxError, UnavailableError
from actors.git import model
from actors.git.model import CreateRef, GitRequest, GitResponse, ListRefs, Operation, Read, RepositoryPaths
from supervisor.api.results import public_error
from supervisor.git.params import base_of, type_of
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from supervisor.ports import GitPort
from supervisor.spawning.admission import FairSemaphore

MOST_TOGETHER = 16
"""Reads that a host does one after another under one permit, before other callers have their turn."""
MOST_NEW_REFS = 200
MOST_OTHERS = 8
"""Writes in one call of the host."""
_MOST_PLACES = 10_000
_Mode = Literal["look", "add", "change"]
"""``look`` goes with ``look`` and ``add`` with ``add``: two new branches do not disturb each other, but a list of all
branches must know which of them were there."""
_Thing = tuple[object, ...]
_Key = tuple[Path, Read]
_Asked = tuple[Path, Read, RepositoryPaths | None]
"""Also in which repository: what one is refused another may see."""
_T = TypeVar("_T")


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
    """A working tree has a HEAD, with its files. A repository has branches, which move, and names of branches and
    tags."""
    repository = place.common_directory
    head, moves, names = ("head", place.git_directory), ("moves", repository), ("names", repository)
    touched: dict[_Thing, _Mode]
    match operation:
        case model.ReadStatus() | model.ReadLog(revision=None) | model.ReadDiff(base=None):
            touched = {head: "look"}
        case model.CreateRef():
            touched = {**_touched_by_new(operation.name, operation.start, repository), head: "look", names: "add"}
        case model.Checkout():
            new = _touched_by_new(operation.branch, operation.start, repository)
            touched = {**new, head: "change", moves: "change", names: "add"}
        case model.Commit():
            touched = {head: "change", moves: "add"}
        case model.DeleteBranch():
            touched = {moves: "look", names: "change"}
        case model.Merge():
            touched = {head: "change", moves: "change", names: "look"}
        case _:
            touched = {head: "look", moves: "look", names: "look"}
    return touched


def _touched_by_new(name: str, start: str | None, repository: Path) -> dict[_Thing, _Mode]:
    own: _Thing = ("name", repository, name)
    if start is None:
        return {own: "change"}
    return {("name", repository, base_of(start)): "look", ("moves", repository): "look", own: "change"}


class AnswerCache:
    """The least recently used answer goes first, and none is kept longer than ``ttl_s``. ``size`` 0 keeps nothing.

    Only the host can tell whether an answer still holds: it compares the answer's fingerprint, each time.
    """

    def __init__(self, size: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: TTLCache[_Key, GitResponse] = TTLCache(size, ttl_s, clock)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: _Key) -> GitResponse | None:
        return self._answers.get(key)

    def put(self, key: _Key, answer: GitResponse) -> int:
        """How many others had to go for it."""
        if not self._answers.maxsize:
            return 0
        before = len(self._answers) + (key not in self._answers)
        self._answers[key] = answer
        return before - len(self._answers)

    def drop(self, key: _Key) -> None:
        self._answers.pop(key, None)

    def resize(self, size: int, ttl_s: float) -> None:
        """Starts empty when either is another one."""
        if (size, ttl_s) != (self._answers.maxsize, self._answers.ttl):
            self._answers = TTLCache(size, ttl_s, self._clock)


def _settle(answer: asyncio.Future[_T], value: _T) -> None:
    if not answer.done():
        answer.set_result(value)


def _settle_error(answer: asyncio.Future[_T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # nobody may be left to look at it


def _record(recorder: MetricsRecorder, outcome: GitResponse) -> None:
    """Of one that the host has run."""
    recorder.count(Count.GIT_RETRIES, outcome.retries)
    if not outcome.unchanged and outcome.error is None:
        recorder.observe(Timing.GIT, outcome.took_s)


@dataclass(eq=False, slots=True)
class _CallerQueue:
    """What one caller waits for, and how many tasks are about to send their share of it."""

    waiting: dict[_Asked, asyncio.Future[GitResponse]] = field(default_factory=dict)
    senders: int = 0


class ReadScheduler:
    """Callers take turns: one who asks much does not keep out one who asks little."""

    def __init__(self, host: GitPort, permits: FairSemaphore, cache: AnswerCache, recorder: MetricsRecorder) -> None:
        self._host = host
        self._permits = permits
        self._cache = cache
        self._recorder = recorder
        self._queues: dict[str, _CallerQueue] = {}
        self._queue_of: dict[_Asked, _CallerQueue] = {}
        self._senders = TaskSet("git reads")

    @property
    def waiting(self) -> int:
        return len(self._queue_of)

    async def answer(self, caller: str, directory: Path, read: Read, place: RepositoryPaths | None) -> GitResponse:
        """Raises ``UnavailableError`` when the host does not answer."""
        key = (directory, read, place)
        queue = self._queues.setdefault(caller, _CallerQueue())
        holder = self._queue_of.get(key)
        if holder is None:
            queue.waiting[key] = asyncio.get_running_loop().create_future()
            self._queue_of[key] = queue
        elif len(queue.waiting) < len(holder.waiting):  # the shorter queue has its turn sooner
            queue.waiting[key] = holder.waiting.pop(key)
            self._queue_of[key] = queue
        answer = self._queue_of[key].waiting[key]
        self._begin_sending(caller, queue)
        return await asyncio.shield(answer)

    async def end(self) -> None:
        for key, queue in self._queue_of.items():
            queue.waiting[key].cancel()
        await self._senders.end()

    def _begin_sending(self, caller: str, queue: _CallerQueue) -> None:
        if queue.senders < min(self._permits.limit, len(queue.waiting)):
            queue.senders += 1
            self._senders.begin(self._send_in_turn(caller, queue))
        elif not queue.senders:
            self._queues.pop(caller, None)

    async def _send_in_turn(self, caller: str, queue: _CallerQueue) -> None:
        async with self._permits.hold(caller):
            share = min(MOST_TOGETHER, ceil(len(queue.waiting) / queue.senders))
            taken = {key: queue.waiting.pop(key) for key in _first(queue.waiting, share)}
            for key in taken:
                del self._queue_of[key]
            queue.senders -= 1
            if not queue.senders:
                self._begin_sending(caller, queue)
            if taken:
                await self._send(taken)

    async def _send(self, taken: Mapping[_Asked, asyncio.Future[GitResponse]]) -> None:
        known = {key: self._cache.get(key[:2]) for key in taken}
        asked = [
            GitRequest(directory=key[0], operation=key[1], place=key[2], known=answer.fingerprint if answer else None)
            for key, answer in known.items()
        ]
        try:
            outcomes = await self._host.git_read(asked)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for answer in taken.values():
                _settle_error(answer, error)
            return
        for (key, answer), outcome in zip(taken.items(), outcomes, strict=True):
            _settle(answer, self._kept(key[:2], known[key], outcome))

    def _kept(self, key: _Key, known: GitResponse | None, outcome: GitResponse) -> GitResponse:
        _record(self._recorder, outcome)
        if outcome.unchanged and known is not None:
            self._recorder.count(Count.CACHE_HITS)
            return replace(outcome, result=known.result)
        self._recorder.count(Count.CACHE_MISSES)
        if outcome.fingerprint is not None:
            self._recorder.count(Count.CACHE_EVICTIONS, self._cache.put(key, outcome))
        else:
            self._cache.drop(key)
        return outcome


def _first(waiting: Iterable[_Asked], share: int) -> list[_Asked]:
    """``share`` of those that wait. Lists go together, whatever their number: one git makes those of a repository."""
    first = list(islice(waiting, share))
    if any(isinstance(read, ListRefs) for _, read, _ in first):
        first += (key for key in islice(waiting, share, None) if isinstance(key[1], ListRefs))
    return first


@dataclass(eq=False, slots=True)
class _QueuedWrite:
    caller: str
    asked: GitRequest
    is_awaited: bool
    """By other operations."""
    done: asyncio.Future[GitResponse] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: bool = False


class WriteScheduler:
    """A repository is named by its common git directory. Callers take turns."""

    def __init__(self, host: GitPort, permits: FairSemaphore, recorder: MetricsRecorder) -> None:
        self._host = host
        self._permits = permits
        self._recorder = recorder
        self._queues: dict[Path, deque[_QueuedWrite]] = {}
        self._writers = TaskSet("git writes")

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    async def write(self, caller: str, repository: Path, asked: GitRequest, *, is_awaited: bool = False) -> GitResponse:
        """Raises ``UnavailableError``; then it may have been done or not.

        ``is_awaited``: other operations wait for it, so it is the last of its call, whose outcomes come together.
        """
        write = _QueuedWrite(caller, asked, is_awaited)
        if repository in self._queues:
            self._queues[repository].append(write)
        else:
            self._queues[repository] = deque([write])
            self._writers.begin(self._serve(repository))
        try:
            return await asyncio.shield(write.done)
        except asyncio.CancelledError:
            if not write.begun:
                write.done.cancel()
            raise

    async def end(self) -> None:
        for write in (each for queue in self._queues.values() for each in queue):
            write.done.cancel()
        await self._writers.end()

    async def _serve(self, repository: Path) -> None:
        queue = self._queues[repository]
        while queue:
            async with self._permits.hold(str(repository)):
                if taken := _take(queue):
                    await self._send(taken, queue)
        del self._queues[repository]

    async def _send(self, taken: list[_QueuedWrite], queue: deque[_QueuedWrite]) -> None:
        try:
            outcomes = await self._host.git_write([write.asked for write in taken])
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for write in taken:
                _settle_error(write.done, _of_unknown_outcome(error))
            return
        for write, outcome in reversed(list(zip(taken, outcomes, strict=True))):
            if outcome is None:
                write.begun = False
                queue.appendleft(write)
            else:
                _record(self._recorder, outcome)
                _settle(write.done, outcome)


def _of_unknown_outcome(error: Exception) -> Exception:
    if not isinstance(error, UnavailableError):
        return error
    return UnavailableError(
        f"{error} Whether this was done is not known, git may even be at it still: look with status, log or branch."
    )


def _take(queue: deque[_QueuedWrite]) -> list[_QueuedWrite]:
    """What goes together, in which no ref comes twice. Those whose callers have gone away are left out."""
    refs: set[str] = set()
    taken: list[_QueuedWrite] = []
    left: list[_QueuedWrite] = []
    others, most = 0, MOST_OTHERS
    for write in _in_turns(each for each in queue if not each.done.done()):
        operation = write.asked.operation
        if isinstance(operation, CreateRef):
            fits = operation.ref not in refs and len(refs) < MOST_NEW_REFS
            refs.add(operation.ref)
        else:
            fits = others < most
            others += fits
            most = others if fits and write.is_awaited else most
        write.begun = fits
        (taken if fits else left).append(write)
    queue.clear()
    queue.extend(left)
    return taken


def _in_turns(queue: Iterable[_QueuedWrite]) -> Iterator[_QueuedWrite]:
    """The first of each caller, then the second of each."""
    callers: dict[str, list[_QueuedWrite]] = {}
    for write in queue:
        callers.setdefault(write.caller, []).append(write)
    for step in zip_longest(*callers.values()):
        yield from filter(None, step)


class GitQueue:
    def __init__(
        self,
        host: GitPort,
        permits: FairSemaphore,
        cache: AnswerCache,
        recorder: MetricsRecorder,
        check: Callable[[Path], object],
    ) -> None:
        """``check`` gets the root of a repository, once for a batch, and raises when that may not be written in."""
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
        requests = [each for each in asked if isinstance(each, GitRequest)]
        found = await self._find_places({each.directory for each in requests if each.place is None})
        places = {each: place for each in requests if (place := each.place or found.get(each.directory)) is not None}
        order = dependencies(
            [
                (each.operation, places[each]) if isinstance(each, GitRequest) and each in places else None
                for each in asked
            ]
        )
        awaited = frozenset().union(*order)
        check = cache(self._check)
        caller = f"call {next(self._calls)}"
        answers: list[asyncio.Task[GitResponse]] = []
        reads: dict[tuple[GitRequest | PhalanxError, frozenset[int]], asyncio.Task[GitResponse]] = {}
        try:
            for number, (each, waits_for) in enumerate(zip(asked, order, strict=True)):
                task = reads.get((each, waits_for))
                if task is None:
                    earlier = {answers[before] for before in waits_for}
                    answer = self._answer(caller, each, places, earlier, check, is_awaited=number in awaited)
                    task = asyncio.create_task(answer, name="git operation")
                    if isinstance(each, GitRequest) and isinstance(each.operation, Read):
                        reads[each, waits_for] = task
                answers.append(task)
                task.add_done_callback(partial(self._answered, each, on_done, number))
            return await asyncio.gather(*answers)
        finally:
            for task in answers:
                task.cancel()

    async def _answer(
        self,
        caller: str,
        asked: GitRequest | PhalanxError,
        places: Mapping[GitRequest, RepositoryPaths],
        earlier: Collection[asyncio.Task[GitResponse]],
        check: Callable[[Path], object],
        *,
        is_awaited: bool,
    ) -> GitResponse:
        if isinstance(asked, PhalanxError):
            return GitResponse.refused(asked)
        if earlier:
            await asyncio.wait(earlier)
        begun = time.monotonic()
        try:
            answer = await self._run(caller, asked, places.get(asked), check, is_awaited=is_awaited)
        except Exception as error:  # noqa: BLE001 - told and logged
            return GitResponse.refused(public_error(error, "This operation"))
        self._recorder.observe(Timing.GIT_WAIT, max(0.0, time.monotonic() - begun - answer.took_s))
        return answer

    async def _run(
        self,
        caller: str,
        asked: GitRequest,
        place: RepositoryPaths | None,
        check: Callable[[Path], object],
        *,
        is_awaited: bool,
    ) -> GitResponse:
        if place is None:
            raise InvalidRequestError(f"{asked.directory} is in no git repository: give a directory of one.")
        if isinstance(asked.operation, Read):
            return await self._reads.answer(caller, asked.directory, asked.operation, asked.place)
        # git acts on all of the repository, however far above the directory that begins.
        check(place.top or place.common_directory)
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

    def _answered(
        self,
        asked: GitRequest | PhalanxError,
        on_done: Callable[[int], None],
        number: int,
        answer: asyncio.Task[GitResponse],
    ) -> None:
        if not answer.cancelled():
            kind = type_of(asked.operation) if isinstance(asked, GitRequest) else "other"
            self._recorder.git_answered(kind, failed=answer.result().error is not None)
            on_done(number)
