"""The seam by which every part of the supervisor tells what it does: ``count`` and ``observe``, cheap at any rate.

One ``Meters`` a team, in the supervisor's event loop. Whoever keeps the history learns of the first change after each
``settle``, so that nothing runs while nothing happens.
"""

from __future__ import annotations

import math
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
        self.on_change: Callable[[float], None] = lambda _: None
        """Called with the first change after each ``settle``, and with one that belongs to an earlier time than those
        before; its argument is that time."""
        self._changed_since = math.inf
        self._watchers: dict[str, Callable[[float], None]] = {}

    def watch(self, name: Count | Timing, watcher: Callable[[float], None]) -> None:
        """``watcher`` is called with each number or time that is told of ``name``; it must neither fail nor block."""
        self._watchers[name] = watcher

    def count(self, name: Count, by: int = 1) -> None:
        if by:
            now = self.clock()
            self.history.slot(now).count(name, by)
            self._tell(name, by, now)

    def observe(self, name: Timing, seconds: float) -> None:
        now = self.clock()
        self.history.slot(now).observe(name, seconds)
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
        except BaseException:
            if failures is not None:
                self.count(failures)
            raise
        self.observe(name, time.perf_counter() - begun)

    def receipt(self, message: Message, receipt: Receipt, *, meant: bool = False) -> None:
        """A message has come to the end of its way. ``meant``: it is no loss if it did not arrive, because its instance
        is only being started (then the spawn has failed) or ends because somebody has asked for it."""
        if receipt.status is MessageStatus.SUBMITTED:
            self.observe(Timing.MESSAGE, receipt.at - message.accepted_at)
        elif receipt.status in _LOST and not meant:
            self.count(_LOST[receipt.status])

    def proved_late(self, doubted: Receipt, receipt: Receipt, accepted_at: float | None) -> None:
        """What counted as lost with ``doubted`` has arrived. ``accepted_at``: None where it is not known any more."""
        name = _LOST[doubted.status]
        if self.history.take_back(name, doubted.at):
            self._tell(name, -1, doubted.at)
        if accepted_at is not None:
            self.observe(Timing.MESSAGE, receipt.at - accepted_at)

    def settle(self) -> None:
        """What was told so far has been taken care of."""
        self._changed_since = math.inf

    def _tell(self, name: Count | Timing, value: float, at: float) -> None:
        watcher = self._watchers.get(name)
        if watcher is not None:
            watcher(value)
        if at < self._changed_since:
            self._changed_since = at
            self.on_change(at)
