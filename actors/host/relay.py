"""The team's socket on a host where its supervisor is not: what comes in goes to the supervisor, its answers come back.

The host's actor keeps one ``Relay``. To a client it is the gateway itself: bytes are passed on as they are, so hello,
calls, cancels and progress are the gateway's own matter. Promises: nobody but the user can connect; a connection whose
way to the supervisor breaks ends, as one to the gateway does when that dies, and is never mended half-way; who connects
while the supervisor is away is told so; no piece is larger than ``PIECE_BYTES``, which Ray puts into the call itself
rather than into its object store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from actors.concurrency import TaskSet
from actors.errors import PhalanxError, UnavailableError, to_wire
from actors.sockets import check_is_socket, is_answered, listen, pack

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 << 10
WRITE_S = 30.0
"""How long a client may leave its answers unread."""
_STOP_S = 5.0
_CLOSE_S = 5.0


class RelayLink(Protocol):
    """One connection to the gateway, from afar. All raise ``PhalanxError`` when the way is broken."""

    async def push(self, data: bytes) -> None: ...

    async def pull(self) -> bytes | None:
        """What has come; empty when nothing came for a while, None at the end."""
        ...

    async def close(self) -> None: ...


OpenLink = Callable[[], Awaitable[RelayLink]]
"""Raises ``PhalanxError`` that says what to do when the supervisor does not answer."""


class Relay:
    """``start`` and ``stop`` belong to one event loop."""

    def __init__(self, socket: Path, open_link: OpenLink) -> None:
        self._socket = socket
        self._open_link = open_link
        self._server: asyncio.Server | None = None
        self._clients = TaskSet("a relayed client")

    async def start(self) -> None:
        """Returns when clients can connect.

        Raises ``UnavailableError`` when somebody answers on the socket, ``SettingsError`` when it cannot be made.
        """
        check_is_socket(self._socket)
        if await is_answered(self._socket):
            raise UnavailableError(f"Another team answers on {self._socket}: `phalanx down` ends it.")
        self._server = await asyncio.start_unix_server(self._serve, sock=listen(self._socket), limit=PIECE_BYTES)

    async def stop(self) -> None:
        """Lets all clients go and takes the socket away. No-op when not started."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._socket.unlink(missing_ok=True)
        await self._clients.end(within_s=_STOP_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.begin(self._carry(reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            link = await self._open_link()
        except PhalanxError as error:
            logger.warning("a client is sent away: %s", error)
            with suppress(ConnectionError):
                writer.write(pack({"error": to_wire(error)}))
            await _close(writer)
            return
        try:
            await _until_one_ends(_there(reader, link), _back(link, writer))
        finally:
            await _close(writer)
            with suppress(PhalanxError):
                await link.close()


async def _until_one_ends(*halves: Awaitable[None]) -> None:
    """What broke a half has ended the connection, which is all that its client can be told."""
    tasks = [asyncio.ensure_future(half) for half in halves]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, PhalanxError):
                logger.warning("a relayed connection is broken: %s", ended)


async def _there(reader: asyncio.StreamReader, link: RelayLink) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            await link.push(data)


async def _back(link: RelayLink, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, TimeoutError):
        while (data := await link.pull()) is not None:
            writer.write(data)
            async with asyncio.timeout(WRITE_S):
                await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await writer.wait_closed()
    writer.transport.abort()
