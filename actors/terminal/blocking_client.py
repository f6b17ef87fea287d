"""What ``SocketClient`` does, for a thread: calling tmux without its program, one connection for a chain of commands.

Used by ``bounded``. Owns the connection: it is bounded by a timeout and closed in any case.
"""

from __future__ import annotations

import socket as sockets
import struct
import time
from pathlib import Path

from actors.errors import TerminalError
from actors.terminal.answer import Answer
from actors.terminal.command import no_answer
from actors.terminal.dialogue import Dialogue
from actors.terminal.frames import command_frame, identification
from actors.terminal.socket_client import PIECE_BYTES, no_server


def ask(socket: Path, command: tuple[str, ...], cwd: Path, timeout_s: float) -> Answer:
    """The client works in ``cwd``. A server that is not there is answered for in the words of the program.

    Raises as ``SocketClient.ask``.
    """
    opening = identification(cwd) + command_frame(command)
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as line:
        # The kernel's own limit: with Python's, a connect fails at once while the server's queue is full.
        line.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, _timeval(timeout_s))
        try:
            line.connect(str(socket))
        except BlockingIOError:
            raise no_answer(timeout_s) from None
        except OSError as error:
            return no_server(str(socket), error)
        line.settimeout(timeout_s)
        return _converse(line, Dialogue(b""), opening, timeout_s)


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1e6))


def _converse(line: sockets.socket, dialogue: Dialogue, opening: bytes, timeout_s: float) -> Answer:
    deadline = time.monotonic() + timeout_s
    say = opening
    try:
        while True:
            line.sendall(say)
            heard = line.recv(PIECE_BYTES)
            if not heard:
                raise TerminalError("tmux did not answer: its server has ended")
            say = dialogue.hear(heard)
            if dialogue.answer is not None:
                return dialogue.answer
            if time.monotonic() > deadline:
                raise no_answer(timeout_s)
    except TimeoutError:
        raise no_answer(timeout_s) from None
    except OSError as error:
        raise TerminalError(f"tmux did not answer: its server has ended ({error})") from error
