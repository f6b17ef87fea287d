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
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from actors.concurrency import TaskSet
from actors.errors import PhalanxError, UnavailableError, to_wire
from actors.remote import remote
from actors.sockets import check_is_socket, is_answered, listen, pack

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 << 10
WRITE_S = 30.0
"""How long a client may leave its answers unread."""
_STOP_S = 5.0
_CLOSE_S = 5.0


class RelayServer(ABC):
    """Connections to the gateway for clients of other hosts, each with a name; ``supervisor.rpc.relayed`` holds them.

    All methods raise ``PhalanxError`` when the connection, or the way to the supervisor, is broken.
    """

    @remote(timeout_s=10.0)
    @abstractmethod
    async def open(self) -> str:
        """The name of a new connection."""

    @remote(timeout_s=40.0)
    @abstractmethod
    async def push(self, name: str, data: bytes) -> None:
        """Passes on what the client says."""

    @remote(timeout_s=30.0)
    @abstractmethod
    async def pull(self, name: str) -> bytes | None:
        """What the gateway has sent; empty when it sent nothing for a while, None when it has closed the connection."""

    @remote(timeout_s=10.0)
    @abstractmethod
    async def close(self, name: str) -> None:
        """No-op for one that is closed."""


Connect = Callable[[], Awaitable[tuple[RelayServer, str]]]
"""Opens a connection. Raises ``PhalanxError`` that says what to do when the supervisor does not answer."""


class Relay:
    """``start`` and ``stop`` belong to one event loop."""

    def __init__(self, socket: Path, connect: Connect) -> None:
        self._socket = socket
        self._connect = connect
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
            server, name = await self._connect()
        except PhalanxError as error:
            logger.warning("a client is sent away: %s", error)
            with suppress(ConnectionError):
                writer.write(pack({"error": to_wire(error)}))
            await _close(writer)
            return
        try:
            await _until_one_ends(_there(reader, server, name), _back(server, name, writer))
        finally:
            await _close(writer)
            with suppress(PhalanxError):
                await server.close(name)


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


async def _there(reader: asyncio.StreamReader, server: RelayServer, name: str) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            await server.push(name, data)


async def _back(server: RelayServer, name: str, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, TimeoutError):
        while (data := await server.pull(name)) is not None:
            writer.write(data)
            async with asyncio.timeout(WRITE_S):
                await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await writer.wait_closed()
    writer.transport.abort()
