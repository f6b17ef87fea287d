"""The stdio transport of the MCP server: lines of JSON-RPC on descriptors that nothing else reads or writes.

``__main__`` calls ``claim_stdio`` once and serves over the two streams, which the SDK's server accepts. The SDK's own
transport passes every line through three threads, which takes longer than most calls; here the event loop waits for the
descriptors. They stay blocking, because other processes may share them: the reader reads only what is ready, and the
writer writes no more at once than there is room for. A line is written whole or not at all, also when a call is
cancelled.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import select
from collections import deque
from types import TracebackType
from typing import Self

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

logger = logging.getLogger(__name__)
Item = SessionMessage | Exception
_READ_BYTES = 1 << 16
_LAST_WORDS_S = 1.0
"""How long the last answers may take when the client has closed our input."""


def claim_stdio() -> tuple[LineReader, LineWriter]:
    """The client's two ends. From now on stdin is empty, and what is printed goes to stderr."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    reader, writer = LineReader(_taken(0, nothing)), LineWriter(_taken(1, 2))
    if nothing > 2:  # otherwise it stands for a descriptor that was closed, whose number must stay taken
        os.close(nothing)
    return reader, writer


def _taken(descriptor: int, stand_in: int) -> int:
    """A private duplicate of ``descriptor``; ``stand_in`` replaces the original."""
    private = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.dup2(stand_in, descriptor)
    return private


class _Stream:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """The descriptor stays open: it belongs to the process."""


class LineReader(_Stream):
    """The client's messages in order. A line that is no message comes as the parser's error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._unfinished = bytearray()
        """The line whose end has not come yet."""
        self._ended = False

    async def receive(self) -> Item:
        """Raises ``EndOfStream`` when the client has closed it."""
        while not self._lines:
            if self._ended:
                raise anyio.EndOfStream
            await _readable(self._descriptor)
            self._read()
        return _message(self._lines.popleft().decode(errors="replace"))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except OSError as error:
            logger.info("the client's end is gone: %s", error)
            data = b""
        self._ended = not data
        self._unfinished += data
        if self._ended and self._unfinished:
            self._unfinished += b"\n"
        if b"\n" in data or self._ended:
            *lines, self._unfinished = self._unfinished.split(b"\n")
            self._lines.extend(map(bytes, lines))


class LineWriter(_Stream):
    """Writes messages to the client. ``send`` returns when its message has been written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._unwritten = bytearray()
        self._written = asyncio.Event()
        self._watched = False
        self._broken = False

    async def send(self, item: SessionMessage) -> None:
        """Raises ``BrokenResourceError`` when the client reads no more."""
        self._unwritten += item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        self._written.clear()
        if not self._watched:
            self._write()
        await self._written.wait()
        if self._broken:
            raise anyio.BrokenResourceError

    async def aclose(self) -> None:
        """Writes what was sent, unless the client does not read it within ``_LAST_WORDS_S``."""
        if self._watched:
            with anyio.move_on_after(_LAST_WORDS_S, shield=True):
                await self._written.wait()

    def _write(self) -> None:
        """Writes as much as there is room for; the event loop calls again when there is more."""
        try:
            while self._unwritten and not self._broken and self._room.poll(0):
                # A write of PIPE_BUF bytes never blocks when poll says that there is room.
                written = os.write(self._descriptor, self._unwritten[: select.PIPE_BUF])
                del self._unwritten[:written]
        except OSError as error:
            logger.info("the client closed its end before it had read all answers: %s", error)
            self._broken = True
        done = self._broken or not self._unwritten
        if done:
            self._written.set()
        if done is self._watched:
            self._watch(not done)

    def _watch(self, watched: bool) -> None:
        loop = asyncio.get_running_loop()
        if watched:
            loop.add_writer(self._descriptor, self._write)
        else:
            loop.remove_writer(self._descriptor)
        self._watched = watched


async def _readable(descriptor: int) -> None:
    """Returns when there is something to read or the input has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _resolve, ready)
    except PermissionError:  # a file or /dev/null, which is always readable
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _message(line: str) -> Item:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return repaired(line) or error


def repaired(line: str) -> SessionMessage | None:
    """The message in a line that the parser refuses only because of lone surrogates; None when it is no message.

    A model may write one half of a surrogate pair (``\\ud83d``). Its client sends that on, the parser drops the line,
    and the call would never be answered. Here the half becomes a question mark.
    """
    try:
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(whole, by_name=False))
    except (TypeError, ValueError, RecursionError):
        logger.warning("a line that is no message was ignored")
        return None
