"""uvicorn's server and its connections, with some habits changed.

The server does not look ten times a second whether it is to end: an idle team uses no CPU. A connection does not wait
without limit for the head of a request, and ends for the client although another process has it open too. It may be one
that a killed process left over, with its request (``held_calls``).
"""

from __future__ import annotations

import asyncio
import socket as sockets
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from actors.host.open_calls import OpenCall
from mcp_entry.web.held_calls import arrived_by

HEAD_S = 10.0


class QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._told_to_end = asyncio.Event()
        self._serves = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # it sets the headers of all answers
        self._serves.set()
        await self._told_to_end.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._told_to_end.set)

    def end(self) -> None:
        """``serve`` returns soon."""
        self.should_exit = True
        self._told_to_end.set()

    async def until_told_to_end(self) -> None:
        await self._told_to_end.wait()

    async def take_over(self, call: OpenCall) -> None:
        """Serves a call that another process has begun. Raises ``OSError``."""
        await self._serves.wait()
        connection = sockets.socket(fileno=call.duplicate())

        def protocol() -> ImpatientProtocol:
            return ImpatientProtocol(self.config, self.server_state, self.lifespan.state, taken_over=call)

        _, made = await self._loop.connect_accepted_socket(protocol, connection)
        made.data_received(call.read())


class ImpatientProtocol(H11Protocol):
    """Drops a connection on which no whole head of a request has come within ``HEAD_S``."""

    _too_late: asyncio.TimerHandle

    def __init__(self, *given: Any, taken_over: OpenCall | None = None, **named: Any) -> None:
        super().__init__(*given, **named)
        self._taken_over = taken_over
        if taken_over is not None:
            self.limit_concurrency = None  # an answer that there are too many would not let go of the call

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._too_late = self.loop.call_later(HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None:  # each answer ends its connection, so there is no second head
            self._too_late.cancel()
            arrived_by(self.scope, self.transport.get_extra_info("socket"), self._taken_over)

    def connection_lost(self, exc: Exception | None) -> None:
        self._too_late.cancel()
        with suppress(OSError):  # the client was quicker
            self.transport.get_extra_info("socket").shutdown(sockets.SHUT_RDWR)
        super().connection_lost(exc)
