"""How far a long piece of work is, since when it goes on, and how long it may still take.

Whatever works for long tells it by a ``ProgressCallback``: so many done of so many, and a word. ``Progress`` is one
such callback. It adds the times, by the clock of the process that shows them, so what is told needs none.
``notifications`` makes the messages of MCP of it, ``cli.progress_line`` the line of a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_FEWEST_DONE = 4
_SHORTEST_S = 2.0
"""Nobody needs to be told how long it still takes before it has taken so long."""
_AGREE_WITHIN = 1.5
_FEW_S = 5.0
_MINUTE_S = 60.0
_HOUR_S = 3600.0


class Progress:
    """*Time left*: each of the rest takes as long as each of those done, which is known from the time of the last one.

    It is told only where that can be relied on: the members are ``alike``, four of them are done, and the pace of all
    of them and that of their later half agree within a half. So there is no estimate while the first ones that run side
    by side come in together, where one stands still or goes ever slower, nor for what waits for people. The longer of
    the two times counts. When it is over and nothing was done, it is withdrawn. Work that begins again, as after a lost
    connection, has a new pace.
    """

    def __init__(self, *, alike: bool, now: Callable[[], float] = time.monotonic) -> None:
        """``alike``: the members take about as long as one another."""
        self._alike = alike
        self._now = now
        self._since = now()
        self._begun = self._since
        """When the work that is counted began, or began again."""
        self._done_at: list[float] = []
        """When each was done, the first one first."""
        self.done = 0
        self.total = 0
        """0 while nothing is counted."""
        self.what = ""

    def __call__(self, done: int, total: int, what: str) -> None:
        """A ``ProgressCallback``. One of one is not counted: what goes on is said in words."""
        self.what = what
        counted = total if total > 1 else 0
        if counted != self.total or done < len(self._done_at):
            if not done or self.total:  # otherwise it has gone on since before the first word on it
                self._begun = self._now()
            self._done_at.clear()
        self.done, self.total = done, counted
        if counted:
            self._done_at += [self._now()] * (done - len(self._done_at))

    @property
    def lasts_s(self) -> float:
        return self._now() - self._since

    @property
    def left_s(self) -> float | None:
        """None while it cannot be told."""
        done = len(self._done_at)
        if not self._alike or not _FEWEST_DONE <= done < self.total:
            return None
        last, half = self._done_at[-1], self._done_at[done // 2 - 1]
        paces_s = (last - self._begun) / done, (last - half) / (done - done // 2)
        shorter_s, longer_s = sorted(paces_s)
        now = self._now()
        if now - self._begun < _SHORTEST_S or longer_s > shorter_s * _AGREE_WITHIN:
            return None
        left_s = longer_s * (self.total - done) - (now - last)
        return left_s if left_s > 0 else None

    @property
    def left(self) -> str:
        """The time left, in words; empty while it cannot be told."""
        left_s = self.left_s
        return "" if left_s is None else f"{about(left_s)} left"


def about(seconds: float) -> str:
    """A time that is not known exactly, in words."""
    if seconds <= _FEW_S:
        return "a few seconds"
    if seconds < _MINUTE_S:
        return f"about {round(seconds / _FEW_S) * _FEW_S:.0f} s"
    if seconds < _HOUR_S:
        return f"about {seconds / _MINUTE_S:.0f} min"
    return f"about {seconds / _HOUR_S:.1f} h"
