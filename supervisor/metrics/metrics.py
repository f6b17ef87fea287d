"""Counts and times what the supervisor does, and keeps the history of it.

Every part of the supervisor calls ``MetricsRecorder.count`` and ``observe``, cheap at any rate. ``History`` keeps fine
buckets for the last quarter of an hour and coarse ones for a day: at most 90 fine and 289 coarse ones, and none for a
time in which nothing happened. ``HistoryStore`` stores the coarse ones. What Prometheus scrapes is summed up beside it
(``totals``). All but the recorder's clock is pure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from actors.agents.base import TokenUse
from actors.errors import InvalidRequestError, PhalanxError
from actors.messages import Message, MessageStatus, Receipt
from supervisor.metrics.totals import Totals

_SMALLEST_S = 1e-4
_GROWTH = 1.1
_LAST = 190
"""The upper end of the last bucket is 1e-4 s * 1.1**190, about two hours."""

FINE_S = 10
COARSE_S = 300
"""Also the span of one stored record."""
FINE_KEPT_S = 900
KEPT_S = 86_400


class Count(StrEnum):
    """What is counted. The names stand in stored records and must not change their meaning."""

    SPAWNS_FAILED = "spawns_failed"
    SPAWNS_FROM_POOL = "spawns_from_pool"
    AGENTS_FAILED = "agents_failed"
    """Agents that ended without having been asked to."""
    MESSAGES_ACCEPTED = "messages_accepted"
    MESSAGES_FAILED = "messages_failed"
    MESSAGES_UNCONFIRMED = "messages_unconfirmed"
    PASTES = "pastes"
    MESSAGES_PASTED = "messages_pasted"
    """Messages in those pastes."""
    GIT_ANSWERED = "git_answered"
    """Git operations that callers asked for, also those that were refused or answered from the cache."""
    GIT_FAILED = "git_failed"
    GIT_RETRIES = "git_retries"
    """Git operations that met another one's lock and were tried again."""
    CACHE_HITS = "cache_hits"
    CACHE_MISSES = "cache_misses"
    CACHE_EVICTIONS = "cache_evictions"
    """Answers that left the cache because it was full."""


class Timing(StrEnum):
    """What is timed. The names stand in stored records and must not change their meaning."""

    SPAWN = "spawn"
    """From the permit to the proof of the first message, of those that succeeded."""
    SPAWN_WAIT = "spawn_wait"
    """For the permit."""
    MESSAGE = "message"
    """From accepted to submitted."""
    GIT = "git"
    """One git operation that was carried out, without waiting for its turn."""
    GIT_WAIT = "git_wait"
    STORE = "store"
    """One write of the state."""
    CALL = "call"
    """One call of a verb that does not wait for agents."""


class MetricsRecorder:
    """One a team, in the supervisor's event loop.

    Subscribers hear of the first change after each ``settle``, so nothing runs while nothing happens.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock``: seconds since the epoch."""
        self.clock = clock
        self.history = History()
        self.totals = Totals()
        self.changes = 0
        """The number of changes so far, besides writes of the state."""
        self._changed_since = math.inf
        self._subscribers: list[Callable[[float], None]] = []
        self._watchers: dict[str, Callable[[float], None]] = {}
        self.last_failures: dict[Count, str] = {}
        """Why the latest of each kind failed, for people."""

    def subscribe(self, subscriber: Callable[[float], None]) -> None:
        """``subscriber`` is called with the time of the first change after each ``settle``, and with the time of a
        change that belongs before those; it must neither fail nor block."""
        self._subscribers.append(subscriber)

    def watch(self, name: Count | Timing, watcher: Callable[[float], None]) -> None:
        """``watcher`` is called with each number or time that is told of ``name``; it must neither fail nor block."""
        self._watchers[name] = watcher

    def count(self, name: Count, by: int = 1) -> None:
        if by:
            now = self.clock()
            self.history.slot(now).count(name, by)
            self.totals.counts[name] += max(0, by)
            self._tell(name, by, now)

    def observe(self, name: Timing, seconds: float) -> None:
        now = self.clock()
        self.history.slot(now).observe(name, seconds)
        self.totals.durations[name].add(seconds)
        self._tell(name, seconds, now)

    @contextmanager
    def timing(self, name: Timing, failures: Count | None = None) -> Iterator[None]:
        """Observes how long the block takes; one that raises is counted in ``failures`` and not timed.

        What was asked for and cannot be is no failure: it says nothing about how the team is.
        """
        begun = time.perf_counter()
        try:
            yield
        except InvalidRequestError:
            raise
        except BaseException as error:
            if failures is not None:
                self.count(failures)
                self.last_failures[failures] = str(error) if isinstance(error, PhalanxError) else ""
            raise
        self.observe(name, time.perf_counter() - begun)

    def receipt(self, message: Message, receipt: Receipt, *, meant: bool = False) -> None:
        """A message has come to the end of its way. ``meant``: it is no loss if it did not arrive, because its instance
        is only being started (then the spawn has failed) or ends on request."""
        arrived = receipt.status is MessageStatus.SUBMITTED
        self.totals.messages["withdrawn" if meant and not arrived else str(receipt.status)] += 1
        if arrived:
            self.observe(Timing.MESSAGE, receipt.at - message.accepted_at)
        elif receipt.status in _LOST and not meant:
            self.count(_LOST[receipt.status])

    def proved_late(self, doubted: Receipt, receipt: Receipt, accepted_at: float | None) -> None:
        """What counted as lost with ``doubted`` has arrived. ``accepted_at``: None where it is not known any more."""
        name = _LOST[doubted.status]
        if self.history.take_back(name, doubted.at):
            self._tell(name, -1, doubted.at)
        self.totals.messages[str(receipt.status)] += 1
        if accepted_at is not None:
            self.observe(Timing.MESSAGE, receipt.at - accepted_at)

    def git_answered(self, kind: str, *, failed: bool) -> None:
        """A caller has the answer to a git operation. ``kind``: its type in ``git_batch``."""
        self.totals.git[kind, failed] += 1
        self.count(Count.GIT_ANSWERED)
        self.count(Count.GIT_FAILED, int(failed))

    def tokens_used(self, use: TokenUse) -> None:
        """Which are in no total so far. They are no part of the history."""
        self.totals.tokens = self.totals.tokens.plus(use)

    def settle(self) -> None:
        """What was told so far has been taken care of."""
        self._changed_since = math.inf

    def _tell(self, name: Count | Timing, value: float, at: float) -> None:
        self.changes += name is not Timing.STORE
        watcher = self._watchers.get(name)
        if watcher is not None:
            watcher(value)
        if at < self._changed_since:
            self._changed_since = at
            for subscriber in self._subscribers:
                subscriber(at)


class History:
    """What was counted and timed, by time. The clock is an argument: seconds since the epoch."""

    def __init__(self) -> None:
        self._fine: dict[int, TimeBucket] = {}
        self._coarse: dict[int, TimeBucket] = {}

    def slot(self, now: float) -> TimeBucket:
        """The bucket to which counts are added now."""
        start = _floor(now, FINE_S)
        found = self._fine.get(start)
        if found is None:
            self._age(now)
            found = self._fine[start] = TimeBucket(start)
        return found

    def take_back(self, name: Count, at: float) -> bool:
        """One less of what was counted at about ``at``; False when it is not kept any more.

        What is counted is counted when it is heard of, a moment after it happened.
        """
        near = [
            slot
            for slot, span_s in self._slots()
            if slot.start - COARSE_S < at < slot.start + span_s and slot.counted(name) > 0
        ]
        if not near:
            return False
        min(near, key=lambda slot: slot.start).count(name, -1)
        return True

    def window(self, now: float, seconds: float) -> TimeBucket:
        """All that happened in the last ``seconds``; what is old or was stored counts in whole slots."""
        since = now - seconds
        total = TimeBucket(since)
        for slot, span_s in self._slots():
            if slot.start + span_s > since:
                total.merge(slot)
        return total

    def points(self, now: float, seconds: float, most: int) -> list[TimeBucket]:
        """The window in at most ``most`` equal parts, oldest first; those in which nothing happened are left out."""
        span_s = max(FINE_S, seconds / most)
        points: dict[int, TimeBucket] = {}
        for slot, slot_span_s in self._slots():
            if slot.start + slot_span_s > now - seconds:
                part = max(0, int((slot.start - (now - seconds)) // span_s))
                points.setdefault(part, TimeBucket(now - seconds + part * span_s)).merge(slot)
        return [points[part] for part in sorted(points)]

    def record(self, now: float) -> TimeBucket:
        """All of the stored record's span in which ``now`` is."""
        start = _floor(now, COARSE_S)
        total = TimeBucket(start)
        for slot, _ in self._slots():
            if _floor(slot.start, COARSE_S) == start:
                total.merge(slot)
        return total

    def restore(self, record: TimeBucket, now: float) -> bool:
        """Takes a stored record in; False when it is too old to be kept."""
        if record.start < now - KEPT_S:
            return False
        self._fold(record)
        return True

    def _slots(self) -> Iterator[tuple[TimeBucket, int]]:
        for slot in self._coarse.values():
            yield slot, COARSE_S
        for slot in self._fine.values():
            yield slot, FINE_S

    def _age(self, now: float) -> None:
        for start in [start for start in self._fine if start < now - FINE_KEPT_S]:
            self._fold(self._fine.pop(start))
        for start in [start for start in self._coarse if start < now - KEPT_S]:
            del self._coarse[start]

    def _fold(self, slot: TimeBucket) -> None:
        start = _floor(slot.start, COARSE_S)
        self._coarse.setdefault(start, TimeBucket(start)).merge(slot)


def _floor(at: float, span_s: int) -> int:
    return int(at // span_s) * span_s


_LOST = {MessageStatus.FAILED: Count.MESSAGES_FAILED, MessageStatus.UNCONFIRMED: Count.MESSAGES_UNCONFIRMED}


@dataclass(slots=True)
class TimeBucket:
    """What happened in one span of time that began at ``start``."""

    start: float
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, Histogram] = field(default_factory=dict)

    def count(self, name: Count, by: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def observe(self, name: Timing, seconds: float) -> None:
        self.timings.setdefault(name, Histogram()).add(seconds)

    def merge(self, other: TimeBucket) -> None:
        for name, number in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + number
        for name, histogram in other.timings.items():
            self.timings.setdefault(name, Histogram()).merge(histogram)

    def counted(self, name: Count) -> int:
        return self.counts.get(name, 0)

    def timed(self, name: Timing) -> Histogram:
        return self.timings.get(name, Histogram())

    def to_plain(self) -> dict[str, Any]:
        timings = {str(name): histogram.to_plain() for name, histogram in self.timings.items()}
        return {"start": self.start, "counts": {str(k): v for k, v in self.counts.items()}, "timings": timings}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what ``to_plain`` never gives."""
        return cls(
            start=float(plain["start"]),
            counts={str(name): int(number) for name, number in dict(plain["counts"]).items()},
            timings={str(name): Histogram.from_plain(one) for name, one in dict(plain["timings"]).items()},
        )


class Histogram:
    """Durations as counts in logarithmic buckets: bounded memory, percentiles to a few per cent. For one event loop."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total_s = 0.0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        bucket = _bucket(seconds)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.total_s += max(0.0, seconds)
        self.longest_s = max(self.longest_s, seconds)

    def merge(self, other: Histogram) -> None:
        for bucket, number in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + number
        self.count += other.count
        self.total_s += other.total_s
        self.longest_s = max(self.longest_s, other.longest_s)

    @property
    def average_s(self) -> float:
        """0 for none."""
        return self.total_s / self.count if self.count else 0.0

    def percentile_s(self, fraction: float) -> float:
        """The duration that this fraction of all did not exceed, at most 10 % too high; 0 for none."""
        rank = math.ceil(fraction * self.count)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(_upper_end_s(bucket), self.longest_s)
        return 0.0

    def to_plain(self) -> list[Any]:
        """For msgpack."""
        return [self.total_s, self.longest_s, [*self._buckets], [*self._buckets.values()]]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Self:
        """Raises ``ValueError`` or ``TypeError`` for what ``to_plain`` never gives."""
        total_s, longest_s, buckets, numbers = plain
        made = cls()
        made._buckets = {int(bucket): int(number) for bucket, number in zip(buckets, numbers, strict=True)}
        made.count = sum(made._buckets.values())
        made.total_s, made.longest_s = float(total_s), float(longest_s)
        return made


def _bucket(seconds: float) -> int:
    if seconds <= _SMALLEST_S:
        return 0
    return min(_LAST, math.ceil(math.log(seconds / _SMALLEST_S, _GROWTH)))


def _upper_end_s(bucket: int) -> float:
    return math.inf if bucket == _LAST else _SMALLEST_S * _GROWTH**bucket
