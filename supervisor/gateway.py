"""The supervisor's door for everybody on this machine who may use it: a 0600 Unix socket that speaks frames.

The supervisor's actor starts one gateway; ``SupervisorClient`` is the other end. Promises: nobody but the user can
connect; the socket of a gateway that answers is never taken over, a stale one is; clients do not disturb each other
(see ``Connection``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket as sockets
from contextlib import suppress
from pathlib import Path

from actors.errors import SettingsError, UnavailableError
from supervisor.background import Background
from supervisor.connection import Connection
from supervisor.verbs import Verbs

logger = logging.getLogger(__name__)
_PROBE_TIMEOUT_S = 2.0
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

    async def start(self) -> None:
        """Returns when clients can connect.

        Raises ``UnavailableError`` when another gateway answers on the socket, ``SettingsError`` when the path is
        taken by something that is no socket.
        """
        _check_is_socket(self._socket)
        if await _is_answered(self._socket):
            raise UnavailableError(f"Another supervisor answers on {self._socket}: `phalanx down` ends it.")
        listener = _listen(self._socket)
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
        self._clients.begin(Connection(reader, writer, self._verbs, self._clients.keep).serve())


def _listen(path: Path) -> sockets.socket:
    """A listening socket at ``path``: made under another name and private before it can be connected to, then renamed,
    so that clients find the old or the new one, never none."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        listener.bind(str(unfinished))
        unfinished.chmod(0o600)
        listener.listen(sockets.SOMAXCONN)
        unfinished.replace(path)
    except OSError as error:
        listener.close()
        unfinished.unlink(missing_ok=True)
        raise SettingsError(f"No socket can be made at {path}: {error}. Set PHALANX_HOME elsewhere.") from error
    return listener


def _check_is_socket(path: Path) -> None:
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{path} is not a socket: move it away, then start the team again.")


async def _is_answered(path: Path) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except (OSError, TimeoutError):
        return True
    writer.close()
    return True
