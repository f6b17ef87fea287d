"""Waiting inside one event loop until something has changed, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class News:
    """``announce`` wakes everyone who waits; a waiter looks for itself whether it got what it waits for."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def announce(self) -> None:
        for waiter in self._waiters:
            _wake(waiter)
        self._waiters.clear()

    async def next(self, timeout_s: float | None) -> None:
        """Returns with the next announcement, or after ``timeout_s`` seconds."""
        if timeout_s is not None and timeout_s <= 0:
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _wake, waiter)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()

    async def until(self, satisfied: Callable[[], bool], timeout_s: float | None) -> bool:
        """Returns True as soon as ``satisfied()`` holds, False when ``timeout_s`` seconds have passed before."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while not satisfied():
            left_s = None if deadline is None else deadline - loop.time()
            if left_s is not None and left_s <= 0:
                return False
            await self.next(left_s)
        return True


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
