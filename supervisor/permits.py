"""A cap on how much runs at once: fair between callers, urgent before background, and resizable while in use.

Callers take turns: one that asks for fifty permits does not keep out one that asks for a single one. What runs in the
background (refilling a pool) begins only while nobody else waits for a permit or holds one, and leaves one free where
the limit allows, so that who comes then need not wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from actors.errors import WrongStateError

_Turn = asyncio.Future[None]


@dataclass(slots=True)
class _Line:
    """Those who wait, first come first served, and how many hold a permit."""

    waiting: deque[_Turn] = field(default_factory=deque)
    held: int = 0


class Permits:
    """At most ``limit`` holders at a time. All in one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._callers: dict[str, _Line] = {}
        """The caller whose turn is next stands first; none is kept who neither waits nor holds."""
        self._background = _Line()
        self._refused = ""
        self.most_held = 0
        """Most holders at once so far."""

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def held(self) -> int:
        return self.urgent + self._background.held

    @property
    def waiting(self) -> int:
        """What callers wait for; what waits in the background is not counted."""
        return sum(len(line.waiting) for line in self._callers.values())

    @property
    def urgent(self) -> int:
        """Held by callers; the others are held in the background."""
        return sum(line.held for line in self._callers.values())

    def resize(self, limit: int) -> None:
        """A smaller limit takes effect as holders finish."""
        self._limit = limit
        self._admit()

    def close(self, why: str) -> None:
        """From now on nobody gets one: who waits and who asks later is refused in these words."""
        self._refused = why
        waiting = [turn for line in (*self._callers.values(), self._background) for turn in line.waiting]
        for turn in waiting:
            if not turn.done():
                turn.set_exception(WrongStateError(why))

    @asynccontextmanager
    async def hold(self, caller: str = "") -> AsyncIterator[None]:
        """``caller`` names on whose behalf: its own work is first come first served, callers take turns.

        Raises ``WrongStateError`` when no more are given.
        """
        line = self._callers.setdefault(caller, _Line())
        try:
            await self._acquire(line)
            try:
                yield
            finally:
                self._release(line)
        finally:
            # Who stops waiting may find that the line was given up meanwhile, and another one begun.
            if not line.held and not line.waiting and self._callers.get(caller) is line:
                del self._callers[caller]

    @asynccontextmanager
    async def hold_in_background(self) -> AsyncIterator[None]:
        await self._acquire(self._background)
        try:
            yield
        finally:
            self._release(self._background)

    async def _acquire(self, line: _Line) -> None:
        if self._refused:
            raise WrongStateError(self._refused)
        turn: _Turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                line.held -= 1
            elif turn in line.waiting:
                line.waiting.remove(turn)
            self._admit()
            raise

    def _release(self, line: _Line) -> None:
        line.held -= 1
        self._admit()

    def _admit(self) -> None:
        while self.held < self._limit and (line := self._next()) is not None:
            turn = line.waiting.popleft()
            if turn.done():  # cancelled, but its task has not run yet
                continue
            line.held += 1
            self.most_held = max(self.most_held, self.held)
            turn.set_result(None)

    def _next(self) -> _Line | None:
        """Whose turn it is; that caller then goes to the end."""
        for caller, line in self._callers.items():
            if line.waiting:
                self._callers[caller] = self._callers.pop(caller)
                return line
        free_for_background = max(self._limit - 1, 1) - self._background.held
        if self._background.waiting and not self.urgent and free_for_background > 0:
            return self._background
        return None
