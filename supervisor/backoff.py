"""How often acts have failed in a row, and when each may be tried again; pure, the clock is the caller's.

Kept by ``Recovery`` and by who clears away spares, so that one act that cannot work neither keeps the others waiting
nor is tried without a pause.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Act = TypeVar("Act", bound=Hashable)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
ENOUGH = 3
"""Who fails so often is not just about to come back."""


@dataclass(frozen=True, slots=True)
class _Failure:
    times: int
    pause_s: float
    again_at: float


class Backoff(Generic[Act]):
    def __init__(self, first_pause_s: float = FIRST_PAUSE_S, longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        """A pause is twice as long as the one before it, up to the longest."""
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._failures: dict[Act, _Failure] = {}

    def may(self, act: Act, now: float) -> bool:
        """Whether it has never failed or its pause is over."""
        return act not in self._failures or self._failures[act].again_at <= now

    def failed(self, act: Act, now: float) -> bool:
        """Whether that was once too often to be only a moment's trouble."""
        before = self._failures.get(act)
        times = before.times + 1 if before else 1
        pause_s = min(2 * before.pause_s, self._longest_pause_s) if before else self._first_pause_s
        self._failures[act] = _Failure(times, pause_s, now + pause_s)
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
        return max(0.0, min(left_s, default=self._longest_pause_s))
