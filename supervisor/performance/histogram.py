"""Durations as counts in logarithmic buckets: any number of them in bounded memory, percentiles to a few per cent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

_SMALLEST_S = 1e-4
_GROWTH = 1.1
_LAST = 190
"""The upper end of the last bucket is 1e-4 s * 1.1**190, about two hours."""


class Histogram:
    """Mutable; one event loop."""

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
