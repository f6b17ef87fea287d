"""The protocol between tmux's server and its clients, as a client needs it; pure: bytes in, bytes out.

``client`` uses ``ClientProtocol`` for one chain of commands. It does what the ``tmux`` program does when it neither
attaches nor is in control mode: it identifies itself, sends the command, gives the server its standard input on
request, collects the output, and gets the exit status.

A frame (OpenBSD's imsg) is a header of 16 bytes (kind, length with the header, protocol version, process id) and its
data. Kinds and data are those of ``tmux-protocol.h``, unchanged from tmux 3.2 to 3.7; a change there raises the
version. Promise: packed data has exactly the size that tmux expects. Up to tmux 3.5 the server exits, with every agent,
when it has not.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from actors.errors import TerminalError

PROTOCOL_VERSION = 8
_LONGEST_BYTES = 16384
_HEADER = struct.Struct("=IIII")
_INT = struct.Struct("=i")
_TWO_INTS = struct.Struct("=ii")
_UTF8_CLIENT = struct.pack("=Q", 0x10000)
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class FrameKind(IntEnum):
    VERSION = 12
    IDENTIFY_TERM = 101
    IDENTIFY_TTYNAME = 102
    IDENTIFY_DONE = 106
    IDENTIFY_CLIENTPID = 107
    IDENTIFY_CWD = 108
    IDENTIFY_FEATURES = 109
    IDENTIFY_LONGFLAGS = 111
    COMMAND = 200
    EXIT = 203
    SHUTDOWN = 210
    FLAGS = 218
    READ_OPEN = 300
    READ = 301
    READ_DONE = 302
    WRITE_OPEN = 303
    WRITE = 304
    WRITE_READY = 305
    WRITE_CLOSE = 306
    READ_CANCEL = 307


_KINDS = frozenset(FrameKind)


_IGNORED_KINDS = frozenset({FrameKind.FLAGS, FrameKind.WRITE_CLOSE, FrameKind.READ_CANCEL})


class TmuxFrameError(Exception):
    """A server of this version sends no such frame."""


class OtherProtocolError(Exception):
    """The server has another version: it read no command and closes the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TmuxReply:
    """The result of one chain. ``status`` is 0 when every command ran; else ``errors`` is the first failure's text."""

    status: int
    output: bytes
    errors: bytes


class ClientProtocol:
    """Send ``identification`` and ``command_frame``, then feed ``hear`` until there is an ``answer``."""

    def __init__(self, content: bytes) -> None:
        """``content``: the standard input, which the server can read once."""
        self._content: bytes | None = content
        self._reader = FrameReader()
        self._printed: dict[int, bytearray] = {}
        self._output = bytearray()
        self._errors = bytearray()
        self._heard = False
        self.answer: TmuxReply | None = None

    def hear(self, data: bytes) -> bytes:
        """The bytes to send in return.

        Raises ``OtherProtocolError`` when the server read nothing, so that nothing was done; ``TmuxFrameError`` for an
        unexpected frame; ``TerminalError`` when the server ends.
        """
        replies = []
        try:
            for frame in self._reader.feed(data):
                self._heard = True
                replies.append(self._reply(frame))
                if self.answer is not None:
                    break
        except OtherProtocolError as error:
            if self._heard:
                raise TmuxFrameError(f"another protocol within an answer ({error})") from None
            raise
        return b"".join(replies)

    def _reply(self, frame: Frame) -> bytes:
        match frame.kind:
            case FrameKind.READ_OPEN:
                return self._read(frame.integer(0), frame.integer(1))
            case FrameKind.WRITE_OPEN:
                return self._open(frame.integer(0), frame.integer(1))
            case FrameKind.WRITE:
                self._printed_to(frame.integer(0)).extend(frame.rest(1))
            case FrameKind.EXIT:
                status = frame.integer(0) if frame.data else 0
                self.answer = TmuxReply(status=status, output=bytes(self._output), errors=bytes(self._errors))
            case FrameKind.SHUTDOWN:
                raise TerminalError("tmux did not answer: its server has ended")
            case kind if kind not in _IGNORED_KINDS:
                raise TmuxFrameError(f"an unexpected {kind.name}")
        return b""

    def _read(self, stream: int, descriptor: int) -> bytes:
        """Gives only the standard input, never a file of this process."""
        content, self._content = self._content, None
        if descriptor != _STDIN or content is None:
            return read_done(stream, errno.EBADF)
        return content_frames(stream, content)

    def _open(self, stream: int, descriptor: int) -> bytes:
        printed = {_STDOUT: self._output, _STDERR: self._errors}.get(descriptor)
        if printed is None or stream in self._printed:
            return write_ready(stream, errno.EBADF)
        self._printed[stream] = printed
        return write_ready(stream, 0)

    def _printed_to(self, stream: int) -> bytearray:
        if stream not in self._printed:
            raise TmuxFrameError(f"text for the stream {stream}, which it has not opened")
        return self._printed[stream]


def identification(cwd: Path = Path("/")) -> bytes:
    """The frames that identify a client without terminal and environment that works in ``cwd``."""
    return b"".join(
        (
            _frame(FrameKind.IDENTIFY_LONGFLAGS, _UTF8_CLIENT),
            _frame(FrameKind.IDENTIFY_TERM, b"dumb\0"),
            _frame(FrameKind.IDENTIFY_FEATURES, _INT.pack(0)),
            _frame(FrameKind.IDENTIFY_TTYNAME, b"\0"),
            _frame(FrameKind.IDENTIFY_CWD, os.fsencode(cwd) + b"\0"),
            _frame(FrameKind.IDENTIFY_CLIENTPID, _INT.pack(os.getpid())),
            _frame(FrameKind.IDENTIFY_DONE),
        )
    )


def command_frame(command: tuple[str, ...]) -> bytes:
    """Raises ``TerminalError`` for a command that is too long for tmux, ``ValueError`` for one with a NUL."""
    if any("\0" in word for word in command):
        raise ValueError("embedded null byte")
    packed = _INT.pack(len(command)) + b"".join(os.fsencode(word) + b"\0" for word in command)
    if len(packed) > _LONGEST_BYTES - _HEADER.size:
        raise TerminalError("tmux refused: command too long")
    return _frame(FrameKind.COMMAND, packed)


def content_frames(stream: int, content: bytes) -> bytes:
    """The whole standard input as the server reads it, and its end."""
    piece_bytes = _LONGEST_BYTES - _HEADER.size - _INT.size
    pieces = (content[at : at + piece_bytes] for at in range(0, len(content), piece_bytes))
    frames = [_frame(FrameKind.READ, _INT.pack(stream) + piece) for piece in pieces]
    return b"".join((*frames, read_done(stream, 0)))


def read_done(stream: int, error: int) -> bytes:
    return _frame(FrameKind.READ_DONE, _TWO_INTS.pack(stream, error))


def write_ready(stream: int, error: int) -> bytes:
    return _frame(FrameKind.WRITE_READY, _TWO_INTS.pack(stream, error))


def _frame(kind: FrameKind, data: bytes = b"") -> bytes:
    return _HEADER.pack(kind, _HEADER.size + len(data), PROTOCOL_VERSION, os.getpid()) + data


@dataclass(frozen=True, slots=True)
class Frame:
    kind: FrameKind
    data: bytes

    def integer(self, position: int) -> int:
        """The field at ``position``, counted in integers. Raises ``TmuxFrameError`` when the data is too short."""
        try:
            return int(_INT.unpack_from(self.data, position * _INT.size)[0])
        except struct.error:
            raise TmuxFrameError(f"a {self.kind.name} of {len(self.data)} bytes is too short") from None

    def rest(self, position: int) -> bytes:
        """What follows ``position`` integers."""
        self.integer(position - 1)
        return self.data[position * _INT.size :]


class FrameReader:
    """Splits received bytes into frames, wherever the reads split them."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises ``TmuxFrameError`` and ``OtherProtocolError``."""
        self._received += data
        while len(self._received) >= _HEADER.size:
            number, length, version, _ = _HEADER.unpack_from(self._received)
            kind = _known(number, length, version & 0xFF)
            if len(self._received) < length:
                return
            frame = Frame(kind, bytes(self._received[_HEADER.size : length]))
            del self._received[:length]
            yield frame


def _known(number: int, length: int, version: int) -> FrameKind:
    if number == FrameKind.VERSION:
        raise OtherProtocolError(f"version {version} instead of {PROTOCOL_VERSION}")
    if version != PROTOCOL_VERSION or not _HEADER.size <= length <= _LONGEST_BYTES or number not in _KINDS:
        raise TmuxFrameError(f"a frame of kind {number}, version {version} and {length} bytes")
    return FrameKind(number)
