"""uvicorn's protocol of a connection with a limit for what uvicorn waits for without one: the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0


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
