"""The seam by which every part of the supervisor tells what it does: ``count`` and ``observe``, cheap at any rate.

One ``Meters`` a team, in the supervisor's event loop. Whoever keeps the history learns of the first change after each
``settle``, so that nothing runs while nothing happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.errors import InvalidRequestError
from actors.messages import Message, MessageStatus, Receipt
from supervisor.performance.history import History
from supervisor.performance.names import Count, Timing

_LOST = {MessageStatus.FAILED: Count.MESSAGES_FAILED, MessageStatus.UNCONFIRMED: Count.MESSAGES_UNCONFIRMED}


class Meters:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock``: seconds since the epoch."""
        self.clock = clock
        self.history = History()
        self.on_change: Callable[[], None] = lambda: None
        """Called with the first change after each ``settle``."""
        self._changed = False
        self._watchers: dict[str, Callable[[float], None]] = {}

    def watch(self, name: Count | Timing, watcher: Callable[[float], None]) -> None:
        """``watcher`` is called with each number or time that is told of ``name``; it must neither fail nor block."""
        self._watchers[name] = watcher

    def count(self, name: Count, by: int = 1) -> None:
        if by:
            self.history.slot(self.clock()).count(name, by)
            self._tell(name, by)

    def observe(self, name: Timing, seconds: float) -> None:
        self.history.slot(self.clock()).observe(name, seconds)
        self._tell(name, seconds)

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
        except BaseException:
            if failures is not None:
                self.count(failures)
            raise
        self.observe(name, time.perf_counter() - begun)

    def receipt(self, message: Message, receipt: Receipt, *, spawning: bool = False) -> None:
        """A message has come to the end of its way. ``spawning``: of an instance that is only being started; one that
        does not arrive then is no lost message but a failed spawn."""
        if receipt.status is MessageStatus.SUBMITTED:
            self.observe(Timing.MESSAGE, receipt.at - message.accepted_at)
        elif receipt.status in _LOST and not spawning:
            self.count(_LOST[receipt.status])

    def settle(self) -> None:
        """What was told so far has been taken care of."""
        self._changed = False

    def _tell(self, name: Count | Timing, value: float) -> None:
        watcher = self._watchers.get(name)
        if watcher is not None:
            watcher(value)
        if not self._changed:
            self._changed = True
            self.on_change()
