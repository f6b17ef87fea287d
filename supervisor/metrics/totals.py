"""What has happened since this supervisor began: sums that never go down, as Prometheus wants them.

``MetricsRecorder`` adds to them beside its history, which forgets; ``exposition`` shows them. A new supervisor begins
at zero, which Prometheus takes for what it is. All in the supervisor's event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate

from actors.agents.base import TokenUse

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper ends of the buckets in which durations are counted; there is one more for all that took longer."""


class Durations:
    """How many took how long."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    @property
    def cumulative(self) -> Sequence[int]:
        """For each of ``BOUNDS_S``, and for no bound at all, how many took no longer."""
        return list(accumulate(self._counts))


class Totals:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """By ``Count``."""
        self.durations: defaultdict[str, Durations] = defaultdict(Durations)
        """By ``Timing``."""
        self.messages: Counter[str] = Counter()
        """That came to the end of their way, by their final status, or ``withdrawn``: the start of the instance was
        undone, or its end was asked for. One that was unconfirmed and is proved later counts twice."""
        self.git: Counter[tuple[str, bool]] = Counter()
        """Operations by type and whether they failed."""
        self.tokens = TokenUse()
