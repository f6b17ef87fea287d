"""What was counted and timed, by time: fine for the last quarter of an hour, coarse for a day, nothing beyond.

Pure; the clock is an argument (seconds since the epoch). Bounded: at most 90 fine and 289 coarse slots, and a time in
which nothing happened takes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from supervisor.performance.histogram import Histogram
from supervisor.performance.names import Count, Timing

FINE_S = 10
COARSE_S = 300
"""Also the span of one stored record."""
FINE_KEPT_S = 900
KEPT_S = 86_400


@dataclass(slots=True)
class Slot:
    """What happened in one span of time that began at ``start``."""

    start: float
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, Histogram] = field(default_factory=dict)

    def count(self, name: Count, by: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def observe(self, name: Timing, seconds: float) -> None:
        self.timings.setdefault(name, Histogram()).add(seconds)

    def merge(self, other: Slot) -> None:
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


class History:
    def __init__(self) -> None:
        self._fine: dict[int, Slot] = {}
        self._coarse: dict[int, Slot] = {}

    def slot(self, now: float) -> Slot:
        """The one to which is added now."""
        start = _floor(now, FINE_S)
        found = self._fine.get(start)
        if found is None:
            self._age(now)
            found = self._fine[start] = Slot(start)
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

    def window(self, now: float, seconds: float) -> Slot:
        """All that happened in the last ``seconds``; what is old or was stored counts in whole slots."""
        since = now - seconds
        total = Slot(since)
        for slot, span_s in self._slots():
            if slot.start + span_s > since:
                total.merge(slot)
        return total

    def points(self, now: float, seconds: float, most: int) -> list[Slot]:
        """The window in at most ``most`` equal parts, oldest first; those in which nothing happened are left out."""
        span_s = max(FINE_S, seconds / most)
        points: dict[int, Slot] = {}
        for slot, slot_span_s in self._slots():
            if slot.start + slot_span_s > now - seconds:
                part = max(0, int((slot.start - (now - seconds)) // span_s))
                points.setdefault(part, Slot(now - seconds + part * span_s)).merge(slot)
        return [points[part] for part in sorted(points)]

    def record(self, now: float) -> Slot:
        """All of the stored record's span in which ``now`` is."""
        start = _floor(now, COARSE_S)
        total = Slot(start)
        for slot, _ in self._slots():
            if _floor(slot.start, COARSE_S) == start:
                total.merge(slot)
        return total

    def restore(self, record: Slot, now: float) -> bool:
        """Takes a stored record in; False when it is too old to be kept."""
        if record.start < now - KEPT_S:
            return False
        self._fold(record)
        return True

    def _slots(self) -> Iterator[tuple[Slot, int]]:
        for slot in self._coarse.values():
            yield slot, COARSE_S
        for slot in self._fine.values():
            yield slot, FINE_S

    def _age(self, now: float) -> None:
        for start in [start for start in self._fine if start < now - FINE_KEPT_S]:
            self._fold(self._fine.pop(start))
        for start in [start for start in self._coarse if start < now - KEPT_S]:
            del self._coarse[start]

    def _fold(self, slot: Slot) -> None:
        start = _floor(slot.start, COARSE_S)
        self._coarse.setdefault(start, Slot(start)).merge(slot)


def _floor(at: float, span_s: int) -> int:
    return int(at // span_s) * span_s
