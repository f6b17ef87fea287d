"""When the reads and writes of all callers go to the host, and which answers are kept. ``GitQueue`` calls it.

Reads: the same question is asked once, and what waits together goes together. Only a question that has not been sent
yet may be shared: one that is under way may have looked before something that the later caller has seen already.

Writes: one call at a time in a repository. What is to be written there meanwhile gathers and goes in the next call:
new branches and tags in one transaction of git, all else one after another for as long as it is quick. A write that
has begun is not cut off: its caller may go away, its turn and its permit are kept until it is done.

All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from math import ceil
from pathlib import Path
from typing import TypeVar

from cachetools import TTLCache

from actors.concurrency import TaskSet
from actors.errors import UnavailableError
from actors.git.model import CreateRef, GitRequest, GitResponse, ListRefs, Read
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from supervisor.ports import GitPort
from supervisor.spawning.admission import FairSemaphore

_Key = tuple[Path, Read]
_T = TypeVar("_T")


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


MOST_TOGETHER = 16
"""Reads that a host does one after another under one permit, before other callers have their turn."""


@dataclass(eq=False, slots=True)
class _CallerQueue:
    """What one caller waits for, and how many tasks are about to send their share of it."""

    waiting: dict[_Key, asyncio.Future[GitResponse]] = field(default_factory=dict)
    senders: int = 0


class ReadScheduler:
    """Callers take turns: one who asks much does not keep out one who asks little."""

    def __init__(self, host: GitPort, permits: FairSemaphore, cache: AnswerCache, recorder: MetricsRecorder) -> None:
        self._host = host
        self._permits = permits
        self._cache = cache
        self._recorder = recorder
        self._queues: dict[str, _CallerQueue] = {}
        self._queue_of: dict[_Key, _CallerQueue] = {}
        self._senders = TaskSet("git reads")

    @property
    def waiting(self) -> int:
        return len(self._queue_of)

    async def answer(self, caller: str, directory: Path, read: Read) -> GitResponse:
        """Raises ``UnavailableError`` when the host does not answer."""
        key = (directory, read)
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

    async def _send(self, taken: Mapping[_Key, asyncio.Future[GitResponse]]) -> None:
        known = {key: self._cache.get(key) for key in taken}
        asked = [
            GitRequest(directory=key[0], operation=key[1], known=answer.fingerprint if answer else None)
            for key, answer in known.items()
        ]
        try:
            outcomes = await self._host.git_read(asked)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for answer in taken.values():
                _settle_error(answer, error)
            return
        for (key, answer), outcome in zip(taken.items(), outcomes, strict=True):
            _settle(answer, self._kept(key, known[key], outcome))

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


def _first(waiting: Iterable[_Key], share: int) -> list[_Key]:
    """``share`` of those that wait. Lists go together, whatever their number: one git makes those of a repository."""
    first = list(islice(waiting, share))
    if any(isinstance(read, ListRefs) for _, read in first):
        first += (key for key in islice(waiting, share, None) if isinstance(key[1], ListRefs))
    return first


MOST_NEW_REFS = 200
MOST_OTHERS = 8
"""In one call of the host."""


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
