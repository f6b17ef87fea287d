"""Progress of one tool call, as MCP wants it told: always rising, and something at least every few seconds.

``server`` makes one ``ProgressTeller`` a call. The supervisor's client calls ``on_progress``; ``tell`` runs beside the
call and sends what came. While nothing comes it repeats the last word, so that clients with a time limit keep waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

SendProgress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Progress so far, total if known, and a word on it."""
_SMALLEST_STEP = 0.001
"""What is added where nothing new was done: MCP requires that progress rises with every notification."""


_Word = tuple[int, int | None, str]
_FIRST_WORD: _Word = (0, None, "working…")


class ProgressTeller:
    def __init__(self, send: SendProgress, *, at_least_every_s: float) -> None:
        self._send = send
        self._at_least_every_s = at_least_every_s
        self._news: asyncio.Queue[_Word | None] = asyncio.Queue()
        self._sent = 0.0

    def on_progress(self, done: int, total: int, what: str) -> None:
        """A ``ProgressCallback`` of the verbs."""
        self._news.put_nowait((done, total or None, what))

    def say(self, what: str) -> None:
        """A word before there is anything to count."""
        self._news.put_nowait((0, None, what))

    def finish(self) -> None:
        """``tell`` ends once it has sent what came before."""
        self._news.put_nowait(None)

    async def tell(self) -> None:
        """Sends until ``finish`` was called."""
        last = _FIRST_WORD
        while (word := await self._next(last)) is not None:
            last = word
            done, total, what = word
            self._sent = max(float(done), self._sent + _SMALLEST_STEP)
            await self._send(self._sent, total, what)

    async def _next(self, last: _Word) -> _Word | None:
        try:
            return await asyncio.wait_for(self._news.get(), self._at_least_every_s)
        except TimeoutError:
            return last
