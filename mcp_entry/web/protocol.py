"""uvicorn's server and its connections, with two habits changed.

The server does not look ten times a second whether it is to end: an idle team uses no CPU. A connection does not wait
without limit for the head of a request.
"""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0


class QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._told_to_end = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # it sets the headers of all answers
        await self._told_to_end.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._told_to_end.set)

    def end(self) -> None:
        """``serve`` returns soon."""
        self.should_exit = True
        self._told_to_end.set()


class ImpatientProtocol(H11Protocol):
    """Drops a connection on which no whole head of a request has come within ``HEAD_S``."""

    _too_late: asyncio.TimerHandle

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._too_late = self.loop.call_later(HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None:  # each answer ends its connection, so there is no second head
            self._too_late.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._too_late.cancel()
        super().connection_lost(exc)
