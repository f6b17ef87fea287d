"""Reads and writes of all callers: shared, gathered, kept and counted.

The reads of all callers: what is the same is asked once, what waits together goes together, answers are kept.

Only a question that was not yet put may be shared: one that is under way may have looked before something that the
later caller has seen already.

The writes of all callers: one at a time in a repository, callers in turn; new branches and tags together.

While a repository is being written, what else is to be written there gathers, and goes to the host at once when it is
its turn: new branches and tags in one transaction of git, all else one after another, for as long as it is quick. One
that others wait for is the last of its call, because what became of it is told when the call is done. A write that has
begun is not cut off: whoever asked may go away, its turn and its permit are kept until it is done.

Answers of git that are kept: the least recently used go first, and none is given after its time.

That an answer still holds is not known here: the host sees it by the answer's proof, each time.

Tells those who wait for an answer, whether somebody still does or not.

What the git queue has done so far; the team's recorder is told, too.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from actors.concurrency import TaskSet
from actors.errors import UnavailableError
from actors.git.model import CreateRef, Fingerprint, GitRequest, GitResponse, ListRefs, Read
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from supervisor.ports import GitPort
from supervisor.spawning.admission import FairSemaphore


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    result: Mapping[str, Any]
    fingerprint: Fingerprint
    at: float


class AnswerCache:
    """``size`` 0 keeps nothing."""

    def __init__(self, size: int, ttl_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._now = now
        self._kept: OrderedDict[Hashable, CachedAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        return self._size

    @property
    def ttl_s(self) -> float:
        return self._ttl_s

    def get(self, key: Hashable) -> CachedAnswer | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._now() - kept.at >= self._ttl_s:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: Hashable, result: Mapping[str, Any], fingerprint: Fingerprint) -> int:
        """How many others had to go for it."""
        self._kept[key] = CachedAnswer(result=result, fingerprint=fingerprint, at=self._now())
        self._kept.move_to_end(key)
        surplus = self._shrink()
        return surplus if self._size else 0

    def drop(self, key: Hashable) -> None:
        self._kept.pop(key, None)

    def resize(self, size: int, ttl_s: float) -> None:
        self._size, self._ttl_s = size, ttl_s
        self._shrink()

    def _shrink(self) -> int:
        surplus = max(0, len(self._kept) - self._size)
        for _ in range(surplus):
            self._kept.popitem(last=False)
        return surplus


_T = TypeVar("_T")


def settle(answer: asyncio.Future[_T], value: _T) -> None:
    if not answer.done():
        answer.set_result(value)


def settle_error(answer: asyncio.Future[_T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # nobody may be left to look at it


@dataclass(slots=True)
class GitCounts:
    recorder: MetricsRecorder = field(default_factory=MetricsRecorder)
    operations: int = 0
    failed: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    shared: int = 0
    """Answered by the same git as another caller's operation."""
    transactions: int = 0
    """Of new branches and tags; each may make many."""

    def count(self, outcome: GitResponse) -> None:
        """One that a host has run."""
        self.recorder.count(Count.GIT_RETRIES, outcome.retries)
        if not outcome.unchanged and outcome.error is None:
            self.recorder.observe(Timing.GIT, outcome.took_s)

    def answered(self, *, failed: bool) -> None:
        """One that a caller has asked for."""
        self.operations += 1
        self.failed += failed
        self.recorder.count(Count.GIT_ANSWERED)
        self.recorder.count(Count.GIT_FAILED, int(failed))

    def looked_up(self, *, hit: bool) -> None:
        """In the cache."""
        self.cache_hits += hit
        self.cache_misses += not hit
        self.recorder.count(Count.CACHE_HITS if hit else Count.CACHE_MISSES)

    def evicted(self, answers: int) -> None:
        """From the cache, because it was full."""
        self.recorder.count(Count.CACHE_EVICTIONS, answers)


MOST_TOGETHER = 16
"""Reads that a host does one after another under one permit, before others have their turn."""
_Key = tuple[Path, Read]


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRead:
    """``cached``: an earlier result, of which the host has seen after the call that it still holds."""

    outcome: GitResponse
    result: Mapping[str, Any] | None
    cached: bool = False


@dataclass(eq=False, slots=True)
class _CallerQueue:
    """What one caller waits for, and how many askers are about to take their share of it."""

    waiting: dict[_Key, asyncio.Future[GitRead]] = field(default_factory=dict)
    about_to_take: int = 0


class ReadScheduler:
    """All in the supervisor's event loop. Callers take turns: who asks much does not keep out who asks little."""

    def __init__(self, host: GitPort, permits: FairSemaphore, cache: AnswerCache, figures: GitCounts) -> None:
        self._host = host
        self._permits = permits
        self._cache = cache
        self._figures = figures
        self._lines: dict[str, _CallerQueue] = {}
        self._line_of: dict[_Key, _CallerQueue] = {}
        self._askers = TaskSet("git reads")

    @property
    def waiting(self) -> int:
        return len(self._line_of)

    async def answer(self, caller: str, directory: Path, read: Read) -> GitRead:
        """Raises ``UnavailableError`` when the host does not answer."""
        key = (directory, read)
        line = self._lines.setdefault(caller, _CallerQueue())
        holder = self._line_of.get(key)
        if holder is None:
            line.waiting[key] = asyncio.get_running_loop().create_future()
            self._line_of[key] = line
        else:
            self._figures.shared += 1
            if len(line.waiting) < len(holder.waiting):
                line.waiting[key] = holder.waiting.pop(key)
                self._line_of[key] = line
        answer = self._line_of[key].waiting[key]
        self._begin_asking(caller, line)
        return await asyncio.shield(answer)

    async def end(self) -> None:
        for key, line in self._line_of.items():
            line.waiting[key].cancel()
        await self._askers.end()

    def _begin_asking(self, caller: str, line: _CallerQueue) -> None:
        if line.about_to_take < min(self._permits.limit, len(line.waiting)):
            line.about_to_take += 1
            self._askers.begin(self._ask_in_turn(caller, line))
        elif not line.about_to_take:
            self._lines.pop(caller, None)

    async def _ask_in_turn(self, caller: str, line: _CallerQueue) -> None:
        async with self._permits.hold(caller):
            share = min(MOST_TOGETHER, ceil(len(line.waiting) / line.about_to_take))
            taken = {key: line.waiting.pop(key) for key in _first(line.waiting, share)}
            for key in taken:
                del self._line_of[key]
            line.about_to_take -= 1
            if not line.about_to_take:
                self._begin_asking(caller, line)
            if taken:
                await self._ask(taken)

    async def _ask(self, taken: Mapping[_Key, asyncio.Future[GitRead]]) -> None:
        kept = {key: self._cache.get(key) for key in taken}
        asked = [
            GitRequest(directory=key[0], operation=key[1], known=known.fingerprint if known else None)
            for key, known in kept.items()
        ]
        try:
            outcomes = await self._host.git_read(asked)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for answer in taken.values():
                settle_error(answer, error)
            return
        for (key, answer), outcome in zip(taken.items(), outcomes, strict=True):
            settle(answer, self._made(key, kept[key], outcome))

    def _made(self, key: _Key, known: CachedAnswer | None, outcome: GitResponse) -> GitRead:
        self._figures.count(outcome)
        if outcome.unchanged and known is not None:
            self._figures.looked_up(hit=True)
            return GitRead(outcome=outcome, result=known.result, cached=True)
        self._figures.looked_up(hit=False)
        if outcome.fingerprint is not None and outcome.result is not None:
            self._figures.evicted(self._cache.put(key, outcome.result, outcome.fingerprint))
        else:
            self._cache.drop(key)
        return GitRead(outcome=outcome, result=outcome.result)


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
    """All in the supervisor's event loop. A repository is named by its common git directory."""

    def __init__(self, host: GitPort, permits: FairSemaphore, figures: GitCounts) -> None:
        self._host = host
        self._permits = permits
        self._figures = figures
        self._wanted: dict[Path, deque[_QueuedWrite]] = {}
        self._writers = TaskSet("git writes")

    @property
    def waiting(self) -> int:
        return sum(map(len, self._wanted.values()))

    async def write(self, caller: str, repository: Path, asked: GitRequest, *, is_awaited: bool = False) -> GitResponse:
        """Raises ``UnavailableError``; then it may have been done or not."""
        wanted = _QueuedWrite(caller, asked, is_awaited)
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

    async def _run(self, taken: list[_QueuedWrite], queue: deque[_QueuedWrite]) -> None:
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


def _take(queue: deque[_QueuedWrite]) -> list[_QueuedWrite]:
    """What goes together; in it no ref comes twice. Those whose callers have gone away are left out."""
    refs: set[str] = set()
    taken: list[_QueuedWrite] = []
    left: list[_QueuedWrite] = []
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


def _in_turns(queue: Iterable[_QueuedWrite]) -> Iterator[_QueuedWrite]:
    """The first of each caller, then the second of each."""
    lines: dict[str, list[_QueuedWrite]] = {}
    for wanted in queue:
        lines.setdefault(wanted.caller, []).append(wanted)
    for step in zip_longest(*lines.values()):
        yield from filter(None, step)
