"""The supervisor's door for everybody on this machine who may use it: a 0600 Unix socket that speaks frames.

The supervisor's actor starts one gateway; ``SupervisorClient`` is the other end. Promises: nobody but the user can
connect; the socket of a gateway that answers is never taken over, a stale one is; clients do not disturb each other
(see ``Connection``).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from actors.concurrency import Background
from actors.errors import UnavailableError
from actors.sockets import check_is_socket, is_answered, listen
from actors.versions import RENEW
from supervisor.api.verbs import Verbs
from supervisor.serving.connection import Connection
from supervisor.versions import VERSION

logger = logging.getLogger(__name__)
_STOP_TIMEOUT_S = 5.0
_READ_AHEAD_BYTES = 1 << 20
"""A connection is read up to twice this ahead, beside the frame in hand."""


class Gateway:
    """``start`` and ``stop`` belong to the event loop in which the verbs run."""

    def __init__(self, socket: Path, verbs: Verbs) -> None:
        self._socket = socket
        self._verbs = verbs
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients = Background("client")
        self._connections: set[Connection] = set()

    async def start(self) -> None:
        """Returns when clients can connect.

        Raises ``UnavailableError`` when another gateway answers on the socket, ``SettingsError`` when the path is
        taken by something that is no socket.
        """
        check_is_socket(self._socket)
        if await is_answered(self._socket):
            raise UnavailableError(f"Another supervisor answers on {self._socket}: `phalanx down` ends it.")
        listener = listen(self._socket)
        self._inode = self._socket.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_READ_AHEAD_BYTES)

    async def stop(self) -> None:
        """Lets all clients go, cancels what runs, and takes the socket away. No-op when not started."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with suppress(FileNotFoundError):
            if self._socket.stat().st_ino == self._inode:
                self._socket.unlink()
        await self._clients.end(within_s=_STOP_TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._verbs, self._clients.keep)
        self._clients.begin(self._serve_one(connection))

    async def _serve_one(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    @property
    def warning(self) -> str:
        """For people; empty while all clients are of the version that the team runs."""
        others = sorted({each.version for each in self._connections} - {"", VERSION})
        if not others:
            return ""
        return (
            f"Clients of Phalanx {', '.join(others)} are connected, and the team runs {VERSION}: what only the newer "
            f"one can do does not work. {RENEW}"
        )
