"""When something that failed is tried again: pauses that grow, for one thing or for each of many.

Pure: the clock is the caller's. Standard library only: instance processes load this module.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

ENOUGH = 3
"""Who fails so often is not just about to come back."""
_DOUBLINGS = 60
"""More would be too large for a float; the longest pause is reached long before."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A pause is twice as long as the one before it, up to the longest."""

    first_s: float
    longest_s: float

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row; none after no failure."""
        return min(self.first_s * 2 ** min(failures - 1, _DOUBLINGS), self.longest_s) if failures > 0 else 0.0


Act = TypeVar("Act", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Failure:
    times: int
    again_at: float


class RetrySchedule(Generic[Act]):
    """How often acts have failed in a row and when each may be tried again. An act that cannot work neither keeps the
    others waiting nor is tried without a pause. All times are seconds of one clock."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures: dict[Act, _Failure] = {}

    def may(self, act: Act, now: float) -> bool:
        """Whether it has never failed or its pause is over."""
        return act not in self._failures or self._failures[act].again_at <= now

    def failed(self, act: Act, now: float) -> bool:
        """Whether that was once too often to be only a moment's trouble."""
        times = self._failures[act].times + 1 if act in self._failures else 1
        self._failures[act] = _Failure(times, now + self._backoff.pause_s(times))
        return times >= ENOUGH

    def worked(self, act: Act) -> None:
        self._failures.pop(act, None)

    def forget_all_but(self, acts: Collection[Act]) -> None:
        """What is not to be done any more has no past either."""
        self._failures = {act: failure for act, failure in self._failures.items() if act in acts}

    @property
    def any(self) -> bool:
        return bool(self._failures)

    @property
    def soon_over(self) -> bool:
        """Something has failed that may well work in a moment."""
        return any(failure.times < ENOUGH for failure in self._failures.values())

    def pause_s(self, now: float) -> float:
        """Until the next one may be tried; without any, the longest pause."""
        left_s = (failure.again_at - now for failure in self._failures.values())
        return max(0.0, min(left_s, default=self._backoff.longest_s))
