"""The supervisor's end of the relays on other hosts: a connection to the gateway's socket for each of their clients.

The supervisor's actor keeps one ``RelayedConnections``; ``actors.host.relay`` is the other end. Promises: bytes are
passed on unchanged and in order. A connection that its relay has not asked for in ``LEASE_S`` is closed, because the
relay has died. There are at most ``MAX_CONNECTIONS``. All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.errors import InvalidRequestError, UnavailableError
from actors.host.relay import PIECE_BYTES, RelayServer

logger = logging.getLogger(__name__)
MAX_CONNECTIONS = 500
"""Each occupies a call of the supervisor's actor."""
PULL_S = 15.0
"""How long one call waits for an answer."""
LEASE_S = 60.0
_OPEN_S = 5.0
_PUSH_S = 30.0


class RelayedConnections(RelayServer):
    def __init__(self, socket: Path, lease_s: float = LEASE_S, pull_s: float = PULL_S) -> None:
        """``socket`` is the gateway's."""
        self._socket = socket
        self._lease_s = lease_s
        self._pull_s = pull_s
        self._open: dict[str, _Connection] = {}

    async def open(self) -> str:
        """The name of a new connection. Raises ``UnavailableError`` while the gateway does not answer,
        ``InvalidRequestError`` when there are too many.
        """
        if len(self._open) >= MAX_CONNECTIONS:
            raise InvalidRequestError(f"{MAX_CONNECTIONS} clients of other hosts are connected: end some of them.")
        try:
            async with asyncio.timeout(_OPEN_S):
                reader, writer = await asyncio.open_unix_connection(self._socket, limit=PIECE_BYTES)
        except (OSError, TimeoutError) as error:
            raise UnavailableError(f"The supervisor is only just starting ({error or 'no answer'}).") from error
        name = secrets.token_hex(16)
        self._open[name] = _Connection(reader, writer, self._expires(name))
        return name

    async def push(self, name: str, data: bytes) -> None:
        """Raises ``UnavailableError`` when the connection has ended."""
        connection = self._named(name)
        connection.writer.write(data)
        try:
            async with asyncio.timeout(_PUSH_S):
                await connection.writer.drain()
        except (ConnectionError, TimeoutError) as error:
            self._close(name)
            raise UnavailableError("The connection to the supervisor has ended.") from error

    async def pull(self, name: str) -> bytes | None:
        """The gateway's bytes; empty when it sent none for a while, None when it has closed the connection.

        Raises ``UnavailableError`` when the connection is unknown (by now).
        """
        connection = self._named(name)
        connection.expiry.cancel()
        connection.expiry = self._expires(name)
        try:
            async with asyncio.timeout(self._pull_s):
                data = await connection.reader.read(PIECE_BYTES)
        except TimeoutError:
            return b""
        except ConnectionError:
            data = b""
        if not data:
            self._close(name)
        return data or None

    async def close(self, name: str) -> None:
        self._close(name)

    def _close(self, name: str) -> None:
        connection = self._open.pop(name, None)
        if connection is not None:
            connection.expiry.cancel()
            with suppress(ConnectionError):
                connection.writer.close()

    def _named(self, name: str) -> _Connection:
        if name not in self._open:
            raise UnavailableError("The connection to the supervisor has ended.")
        return self._open[name]

    def _expires(self, name: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._lease_s, self._expired, name)

    def _expired(self, name: str) -> None:
        logger.warning("the relay of a client does not ask for its answers any more: the client is disconnected")
        self._close(name)


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    expiry: asyncio.TimerHandle
