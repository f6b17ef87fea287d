"""The stdio of the MCP server: lines of JSON-RPC on descriptors that nothing else reads or writes.

``__main__`` claims it once and serves over it; the two ends are what the SDK's server takes for streams. The SDK's own
transport hands every line through three threads, which takes longer than the call itself; here the event loop waits for
the descriptors. They stay blocking, since whoever shares them would see them changed: what is ready is read, and no
more is written at once than then has room. A line is written whole or not at all, whoever is cancelled meanwhile.
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


def repaired(line: str) -> SessionMessage | None:
    """The message in a line that the parser does not take, if only halves of characters are wrong with it.

    A model may write half of a character that JSON escapes as two (``\\ud83d``). Its client sends that on, the parser
    drops the line, and the call would never be answered. Here the half becomes a question mark and the call goes on.
    """
    try:
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(whole, by_name=False))
    except (TypeError, ValueError, RecursionError):
        logger.warning("a line that is no message was passed over")
        return None


Item = SessionMessage | Exception
_READ_BYTES = 1 << 16
_LAST_WORDS_S = 1.0
"""How long a client that has closed our input may still read what it is told."""


def claim_stdio() -> tuple[LineReader, LineWriter]:
    """What the client reads and writes; from now on stdin is empty, and what is printed goes to stderr."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    reader, writer = LineReader(_taken(0, nothing)), LineWriter(_taken(1, 2))
    if nothing > 2:  # it has taken the place of one that was closed: nothing else may
        os.close(nothing)
    return reader, writer


def _taken(descriptor: int, stand_in: int) -> int:
    """The same under a number of our own; ``stand_in`` takes its place."""
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
    """What the client says, one message after the other; a line that is none comes as the parser's error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._begun = bytearray()
        """Of a line whose end has not come yet."""
        self._ended = False

    async def receive(self) -> Item:
        """Raises ``EndOfStream`` when the client has closed it."""
        while not self._lines:
            if self._ended:
                raise anyio.EndOfStream
            await _readable(self._descriptor)
            self._take_in()
        return _message(self._lines.popleft().decode(errors="replace"))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def _take_in(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except OSError as error:
            logger.info("the client's end is gone: %s", error)
            data = b""
        self._ended = not data
        self._begun += data
        if self._ended and self._begun:
            self._begun += b"\n"
        if b"\n" in data or self._ended:
            *lines, rest = self._begun.split(b"\n")
            self._lines.extend(map(bytes, lines))
            self._begun = rest


class LineWriter(_Stream):
    """What the client is told. ``send`` returns when it has been written."""

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
        """Has written what was sent, unless the client does not read it."""
        if self._watched:
            with anyio.move_on_after(_LAST_WORDS_S, shield=True):
                await self._written.wait()

    def _write(self) -> None:
        """As much as there is room for; the rest when there is room again."""
        try:
            while self._unwritten and not self._broken and self._room.poll(0):
                # So much never blocks when there is room at all.
                written = os.write(self._descriptor, self._unwritten[: select.PIPE_BUF])
                del self._unwritten[:written]
        except OSError as error:
            logger.info("the client went away without waiting for its answers: %s", error)
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
    """Returns when there is something to read, or the end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _note, ready)
    except PermissionError:  # a file, or /dev/null: what is in it is there
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _note(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _message(line: str) -> Item:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return repaired(line) or error
