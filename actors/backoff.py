"""For what is tried again: pauses that grow, for one operation (``Backoff``) or for many (``RetrySchedule``), and one
log line for a problem that lasts (``LastingProblem``).

The caller brings the clock. Standard library only: instance processes load this module.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

ENOUGH = 3
"""After so many failures in a row the problem is not a passing one."""
_DOUBLINGS = 60
"""Keeps the float finite; the longest pause is reached long before."""
Act = TypeVar("Act", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Each pause is twice as long as the one before, up to ``longest_s``."""

    first_s: float
    longest_s: float

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row; 0 without a failure."""
        return min(self.first_s * 2 ** min(failures - 1, _DOUBLINGS), self.longest_s) if failures > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Failure:
    times: int
    again_at: float


class RetrySchedule(Generic[Act]):
    """How often each act has failed in a row and when it may be tried again. All times are seconds of one clock."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures: dict[Act, _Failure] = {}

    def may(self, act: Act, now: float) -> bool:
        """Whether the act has not failed or its pause is over."""
        return act not in self._failures or self._failures[act].again_at <= now

    def failed(self, act: Act, now: float) -> bool:
        """Notes a failure; returns whether there were ``ENOUGH`` in a row."""
        times = self._failures[act].times + 1 if act in self._failures else 1
        self._failures[act] = _Failure(times, now + self._backoff.pause_s(times))
        return times >= ENOUGH

    def worked(self, act: Act) -> None:
        self._failures.pop(act, None)

    def forget_all_but(self, acts: Collection[Act]) -> None:
        """Forgets the failures of all other acts, which are no longer tried."""
        self._failures = {act: failure for act, failure in self._failures.items() if act in acts}

    @property
    def any(self) -> bool:
        return bool(self._failures)

    @property
    def soon_over(self) -> bool:
        """Whether an act has failed fewer than ``ENOUGH`` times, so that it may soon work."""
        return any(failure.times < ENOUGH for failure in self._failures.values())

    def pause_s(self, now: float) -> float:
        """Seconds until the next act may be tried; without failures the longest pause."""
        left_s = (failure.again_at - now for failure in self._failures.values())
        return max(0.0, min(left_s, default=self._backoff.longest_s))


class LastingProblem:
    """Logs a problem once, so that a loop that retries does not fill the log. ``what`` says there what goes wrong."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._said = ""

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def met(self, error: BaseException) -> None:
        """Logs the error unless it is the same as before."""
        if str(error) != self._said:
            self._said = str(error)
            self._logger.warning("%s: %s", self._what, error)

    def over(self) -> None:
        """Logs once that the problem is gone."""
        if self._said:
            self._said = ""
            self._logger.info("%s: no more", self._what)
