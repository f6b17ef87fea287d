"""A private Unix socket for git calls from the supervisor to the host actor on the same machine.

A call through Ray costs both sides more than most git commands, and a batch makes many. A connection carries one call
at a time. Promises: a connection ends with either process, so no caller waits for a dead one; a call that was not sent
raises ``GitCallNotSentError`` and may be made through Ray.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.concurrency import TaskSet
from actors.errors import from_wire
from actors.git.model import failed
from actors.sockets import listen

_LENGTH = struct.Struct(">Q")
_READ_AHEAD_BYTES = 1 << 20
_MOST_IDLE = 8
"""Idle connections kept for later calls."""
_STOP_S = 5.0
_WRITE_S = 30.0


class GitCallNotSentError(Exception):
    """The host received nothing of the call."""


class GitServer:
    """The host's end, in one event loop."""

    def __init__(self, socket: Path, answers: Mapping[str, Callable[[Any], Awaitable[Any]]]) -> None:
        """``answers``: the function that answers each call, by the call's name."""
        self._socket = socket
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._callers = TaskSet("a caller of git")

    async def start(self) -> None:
        """Raises ``SettingsError`` when the socket cannot be created."""
        listener = listen(self._socket)
        self._inode = self._socket.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_READ_AHEAD_BYTES)

    async def stop(self) -> None:
        """Closes the socket; running operations finish without a response. No-op when not started."""
        if self._server is not None:
            self._server.close()
            self._server = None
            with suppress(FileNotFoundError):
                if self._socket.stat().st_ino == self._inode:  # not a successor's socket
                    self._socket.unlink()
        await self._callers.end(within_s=_STOP_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.begin(self._answer_all(reader, writer))

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                while True:
                    name, given = await _receive(reader)
                    _send(writer, await self._answer(name, given))
                    async with asyncio.timeout(_WRITE_S):
                        await writer.drain()
        finally:
            writer.close()

    async def _answer(self, name: str, given: Any) -> tuple[Any, Any]:
        """The answer and None, or None and the error."""
        try:
            return await self._answers[name](given), None
        except Exception as error:  # noqa: BLE001 - sent to the other end
            return None, dict(failed(error).error or {})


class GitClient:
    """The supervisor's end, in one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, name: str, given: Any) -> Any:
        """Raises ``GitCallNotSentError``, ``ConnectionError`` when the host ended before it answered, and the host's
        error. The host finishes a call that times out or is cancelled."""
        reader, writer = await self._connected()
        is_whole = False
        try:
            _send(writer, (name, given))
            try:
                answer, error = await _receive(reader)
            except asyncio.IncompleteReadError as cut:
                raise ConnectionResetError from cut
            is_whole = True
        finally:
            if is_whole and len(self._idle) < _MOST_IDLE:
                self._idle.append((reader, writer))
            else:
                writer.transport.abort()
        if error is not None:
            raise from_wire(error)
        return answer

    def close(self) -> None:
        """Closes the idle connections; a later call opens a new one."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.sleep(0)  # the loop must run once to notice closed connections
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.transport.abort()
        try:
            return await asyncio.open_unix_connection(self._socket, limit=_READ_AHEAD_BYTES)
        except OSError as error:
            raise GitCallNotSentError from error


def _send(writer: asyncio.StreamWriter, what: Any) -> None:
    content = pickle.dumps(what)
    writer.write(_LENGTH.pack(len(content)) + content)


async def _receive(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 - only the user can connect
