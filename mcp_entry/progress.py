"""Progress of one tool call, as MCP wants it told: always rising, and something at least every few seconds.

``server`` makes one ``ProgressTeller`` a call and makes the call within it. The supervisor's client calls
``on_progress``; what came is sent by a task beside the call, which most calls are too short to need. While nothing
comes it repeats the last word, so that clients with a time limit keep waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

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
        self._telling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._first = asyncio.get_running_loop().call_later(self._at_least_every_s, self._put, _FIRST_WORD)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What came before is sent first, unless the call was cancelled."""
        self._first.cancel()
        if self._telling is not None and kind is None:
            self._news.put_nowait(None)
            await self._telling
        elif self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def on_progress(self, done: int, total: int, what: str) -> None:
        """A ``ProgressCallback`` of the verbs."""
        self._put((done, total or None, what))

    def say(self, what: str) -> None:
        """A word before there is anything to count."""
        self._put((0, None, what))

    def _put(self, word: _Word) -> None:
        self._first.cancel()
        self._news.put_nowait(word)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="progress")

    async def _tell(self) -> None:
        last = _FIRST_WORD
        while (word := await self._next(last)) is not None:
            last = word
            done, total, what = word
            self._sent = max(float(done), self._sent + _SMALLEST_STEP)
            await self._send(self._sent, total, what)

    async def _next(self, last: _Word) -> _Word | None:
        try:
            async with asyncio.timeout(self._at_least_every_s):
                return await self._news.get()
        except TimeoutError:
            return last
