"""The team's socket on a worker host: a ``Relay`` passes each client's bytes to the supervisor and back.

The host's actor keeps one ``Relay``. To a client it is the gateway: the bytes are unchanged, so hello, calls, cancels
and progress stay the gateway's matter. Promises: only the user can connect; if the supervisor link breaks, the client
connection closes and is never resumed; a client that connects while the supervisor is away gets that as an error; no
piece exceeds ``PIECE_BYTES``, which Ray sends in the call itself instead of through its object store.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from actors.concurrency import TaskSet
from actors.errors import PhalanxError, TeamNotRunningError, UnavailableError, to_wire
from actors.home import away_words
from actors.ray_client import SUPERVISOR, ActorProxy, find_actor
from actors.remote import remote
from actors.sockets import check_is_socket, is_answered, listen, pack

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 << 10
WRITE_S = 30.0
"""How long a client may leave its answers unread."""
PATIENCE_S = 20.0
"""How long a new connection waits for a supervisor that is being restarted."""
_POLL_S = 0.5
_STOP_S = 5.0
_CLOSE_S = 5.0


class RelayServer(ABC):
    """The supervisor's side: named gateway connections for clients of other hosts (``supervisor.rpc.relayed``).

    All methods raise ``PhalanxError`` when the connection or the supervisor link is broken.
    """

    @remote(timeout_s=10.0)
    @abstractmethod
    async def open(self) -> str:
        """The name of a new connection."""

    @remote(timeout_s=40.0)
    @abstractmethod
    async def push(self, name: str, data: bytes) -> None:
        """Passes on the client's bytes."""

    @remote(timeout_s=30.0)
    @abstractmethod
    async def pull(self, name: str) -> bytes | None:
        """The gateway's bytes; empty when it sent none for a while, None when it has closed the connection."""

    @remote(timeout_s=10.0)
    @abstractmethod
    async def close(self, name: str) -> None:
        """No-op for a closed connection."""


Connect = Callable[[], Awaitable[tuple[RelayServer, str]]]
"""Opens a connection. Raises ``PhalanxError`` that says what to do when the supervisor does not answer."""


async def connect_through_ray(head: str) -> tuple[RelayServer, str]:
    """A new connection to the supervisor on the host ``head``; waits for one that is being restarted.

    Raises ``TeamNotRunningError``.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(ValueError, UnavailableError):
                    actor = await find_actor(SUPERVISOR)  # another one after a restart of the head
                    server = cast("RelayServer", ActorProxy(actor, RelayServer, "The supervisor", prefix="relay_"))
                    return server, await server.open()
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TeamNotRunningError(away_words(head)) from None


class Relay:
    """Serves the socket. ``start`` and ``stop`` belong to one event loop."""

    def __init__(self, socket: Path, connect: Connect) -> None:
        self._socket = socket
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._clients = TaskSet("a relayed client")

    async def start(self) -> None:
        """Returns when clients can connect.

        Raises ``UnavailableError`` when the socket is in use, ``SettingsError`` when it cannot be created.
        """
        check_is_socket(self._socket)
        if await is_answered(self._socket):
            raise UnavailableError(f"Another team answers on {self._socket}: `phalanx down` ends it.")
        self._server = await asyncio.start_unix_server(self._serve, sock=listen(self._socket), limit=PIECE_BYTES)

    async def stop(self) -> None:
        """Closes all client connections and removes the socket. No-op when not started."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._socket.unlink(missing_ok=True)
        await self._clients.end(within_s=_STOP_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.begin(self._relay_client(reader, writer))

    async def _relay_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server, name = await self._connect()
        except PhalanxError as error:
            logger.warning("a client is refused: %s", error)
            with suppress(ConnectionError):
                writer.write(pack({"error": to_wire(error)}))
            await _close(writer)
            return
        try:
            await _until_first_ends(_forward(reader, server, name), _return(server, name, writer))
        finally:
            await _close(writer)
            with suppress(PhalanxError):
                await server.close(name)


async def _until_first_ends(*directions: Awaitable[None]) -> None:
    """A failure of one direction ends the connection; the client learns no more than that."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, PhalanxError):
                logger.warning("a relayed connection is broken: %s", ended)


async def _forward(reader: asyncio.StreamReader, server: RelayServer, name: str) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            await server.push(name, data)


async def _return(server: RelayServer, name: str, writer: asyncio.StreamWriter) -> None:
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
