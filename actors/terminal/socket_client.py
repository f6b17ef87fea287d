"""Calling tmux without its program: a connection to the server's socket for each chain of commands.

Used by ``tmux``. To the server this is a client like the program: ``dialogue`` says what that would say. Owns the
connections it makes: each is bounded by a timeout, and closed when the timeout passes or the caller is cancelled. None
outlives the process that made it, and what is typed is asked of the client in the midst of the chain (see
``never_late``). Standard library only.
"""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from pathlib import Path

from actors.errors import TerminalError
from actors.terminal.answer import Answer
from actors.terminal.command import no_answer
from actors.terminal.dialogue import Dialogue
from actors.terminal.frames import command_frame, identification

_BUSY_POLL_S = 0.01
_NO_SERVER = b"no server running on "
_REFUSED = 1
PIECE_BYTES = 1 << 16


class SocketClient:
    def __init__(self, socket: Path, timeout_s: float) -> None:
        self._socket = str(socket)
        self._timeout_s = timeout_s
        self._identification = identification()

    async def ask(self, command: tuple[str, ...], content: bytes | None) -> Answer:
        """A server that is not there is answered for in the words of the program.

        Raises ``OtherProtocolError`` when the server cannot be spoken to, with nothing done; ``TerminalError`` when
        there is no answer and ``FrameError`` for one that is not understood, with nothing certain.
        """
        dialogue = Dialogue(content or b"")
        opening = self._identification + command_frame(command)
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    line = await self._connect()
                except OSError as error:
                    return no_server(self._socket, error)
                with line:
                    return await _converse(line, dialogue, opening)
        except TimeoutError:
            raise no_answer(self._timeout_s) from None

    async def _connect(self) -> sockets.socket:
        line = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            line.setblocking(False)
            while True:
                try:
                    line.connect(self._socket)
                except BlockingIOError:  # many call at once, or the server hangs
                    await asyncio.sleep(_BUSY_POLL_S)
                else:
                    return line
        except BaseException:
            line.close()
            raise


def no_server(socket: str, error: OSError) -> Answer:
    where = os.fsencode(socket)
    reason = os.strerror(error.errno or 0).encode()
    absent = isinstance(error, ConnectionRefusedError)
    errors = _NO_SERVER + where if absent else b"error connecting to %s (%s)" % (where, reason)
    return Answer(status=_REFUSED, output=b"", errors=errors)


async def _converse(line: sockets.socket, dialogue: Dialogue, opening: bytes) -> Answer:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(line, opening)
        while dialogue.answer is None:
            heard = await loop.sock_recv(line, PIECE_BYTES)
            if not heard:
                raise TerminalError("tmux did not answer: its server has ended")
            await loop.sock_sendall(line, dialogue.hear(heard))
    except OSError as error:
        raise TerminalError(f"tmux did not answer: its server has ended ({error})") from error
    return dialogue.answer
