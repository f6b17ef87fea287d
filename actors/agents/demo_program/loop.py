"""Waits for keys, signals, programs and timers; without any of them for ever."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable

Callback = Callable[[], None]

_PIECE_BYTES = 65536


class Loop:
    """Call ``run``; it returns what ``stop`` was given."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._status: int | None = None

    def on_readable(self, descriptor: int, callback: Callback) -> None:
        self._readers[descriptor] = callback
        self._poll.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        del self._readers[descriptor]
        self._poll.unregister(descriptor)

    def on_signals(self, *callbacks: tuple[int, Callback]) -> None:
        """Calls back between events, never in the midst of one."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(read, False)
        signal.set_wakeup_fd(write)
        by_number = dict(callbacks)
        for number in by_number:
            signal.signal(number, lambda *_: None)

        def arrived() -> None:
            for number in os.read(read, _PIECE_BYTES):
                by_number[number]()

        self.on_readable(read, arrived)

    def later(self, seconds: float, callback: Callback) -> Callback:
        """Calls back once after ``seconds``; returns what cancels it."""
        entry = (time.monotonic() + seconds, next(self._order), callback)
        heapq.heappush(self._timers, entry)

        def cancel() -> None:
            if entry in self._timers:
                self._timers.remove(entry)
                heapq.heapify(self._timers)

        return cancel

    def stop(self, status: int) -> None:
        self._status = status

    def run(self) -> int:
        while self._status is None:
            for descriptor, _ in self._poll.poll(self._timeout_ms()):
                if descriptor in self._readers and self._status is None:
                    self._readers[descriptor]()
            while self._status is None and self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
        return self._status

    def _timeout_ms(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic()) * 1000 + 1
