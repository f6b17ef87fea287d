"""What a tmux client says and hears for one chain of commands; pure: bytes in, bytes out.

Used by ``socket_client``. This is what the ``tmux`` program does when it neither attaches nor is in control mode: it
says who it is and what it wants, gives the server its standard input when asked, takes what is printed, and is told how
the chain ended.
"""

from __future__ import annotations

import errno

from actors.errors import TerminalError
from actors.terminal.answer import Answer
from actors.terminal.frames import (
    Frame,
    FrameError,
    FrameReader,
    Kind,
    OtherProtocolError,
    content_frames,
    read_done,
    write_ready,
)

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_OF_NO_USE = frozenset({Kind.FLAGS, Kind.WRITE_CLOSE, Kind.READ_CANCEL})


class Dialogue:
    """Say ``identification`` and ``command_frame``, then ``hear`` until there is an ``answer``."""

    def __init__(self, content: bytes) -> None:
        """``content`` is the standard input, which a chain can read once."""
        self._content: bytes | None = content
        self._reader = FrameReader()
        self._printed: dict[int, bytearray] = {}
        self._output = bytearray()
        self._errors = bytearray()
        self._heard = False
        self.answer: Answer | None = None

    def hear(self, data: bytes) -> bytes:
        """What to send in return. Raises ``OtherProtocolError`` when the server reads nothing of what was said, so that
        surely nothing was done, ``FrameError`` for what no server says to such a client, ``TerminalError`` when the
        server ends."""
        replies = []
        try:
            for frame in self._reader.feed(data):
                self._heard = True
                replies.append(self._reply(frame))
                if self.answer is not None:
                    break
        except OtherProtocolError as error:
            if self._heard:
                raise FrameError(f"another protocol in the midst of an answer ({error})") from None
            raise
        return b"".join(replies)

    def _reply(self, frame: Frame) -> bytes:
        match frame.kind:
            case Kind.READ_OPEN:
                return self._read(frame.integer(0), frame.integer(1))
            case Kind.WRITE_OPEN:
                return self._open(frame.integer(0), frame.integer(1))
            case Kind.WRITE:
                self._printed_to(frame.integer(0)).extend(frame.rest(1))
            case Kind.EXIT:
                status = frame.integer(0) if frame.data else 0
                self.answer = Answer(status=status, output=bytes(self._output), errors=bytes(self._errors))
            case Kind.SHUTDOWN:
                raise TerminalError("tmux did not answer: its server has ended")
            case kind if kind not in _OF_NO_USE:
                raise FrameError(f"an unexpected {kind.name}")
        return b""

    def _read(self, stream: int, descriptor: int) -> bytes:
        """Only what stands for standard input is given, never a file of ours."""
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
            raise FrameError(f"text for the stream {stream}, which it has not opened")
        return self._printed[stream]
