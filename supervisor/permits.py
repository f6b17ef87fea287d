"""A cap on how much runs at once: fair, and resizable while in use."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Permits:
    """At most ``limit`` holders at a time, first come first served. All in one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.most_held = 0
        """Most holders at once so far."""

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def held(self) -> int:
        return self._held

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def resize(self, limit: int) -> None:
        """A smaller limit takes effect as holders finish."""
        self._limit = limit
        self._admit()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        await self._acquire()
        try:
            yield
        finally:
            self._held -= 1
            self._admit()

    async def _acquire(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._held -= 1
            elif turn in self._waiters:
                self._waiters.remove(turn)
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiters and self._held < self._limit:
            turn = self._waiters.popleft()
            if turn.done():  # cancelled, but its task has not run yet
                continue
            self._held += 1
            self.most_held = max(self.most_held, self._held)
            turn.set_result(None)
