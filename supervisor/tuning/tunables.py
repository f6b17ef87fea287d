"""What applies now, and who must hear when it changes.

Whoever owns something that can be tuned (a cap, the batcher, a cache, the pool) subscribes once; ``change`` tells all
of them at once. All in the supervisor's event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisor.tuning.values import Tuning

Subscriber = Callable[[Tuning, Tuning], None]
"""Takes what applied before and what applies now. Must neither fail nor block."""


class Tunables:
    def __init__(self, tuning: Tuning) -> None:
        self._current = tuning
        self._subscribers: list[Subscriber] = []

    @property
    def current(self) -> Tuning:
        return self._current

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def change(self, tuning: Tuning) -> None:
        before, self._current = self._current, tuning
        if tuning != before:
            for subscriber in self._subscribers:
                subscriber(before, tuning)
