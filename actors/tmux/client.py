"""Runs chains of tmux commands: through the server's socket, or with tmux's own program.

``TmuxClient`` is asynchronous; ``pane``, and so every instance actor, uses it. ``ask`` does the same blocking, for
``server`` on the host. The socket comes first, because starting a process for each chain is most of what a message
costs. ``ProcessClient`` runs the program when the server speaks another protocol or sends what ``protocol`` does not
know. Standard library only.

Promises: no chain is given to tmux twice; each connection and process is bounded by a timeout and is closed, or killed
and reaped, on timeout and cancellation; a client never starts a server, never passes on a variable of the calling
process, and uses UTF-8 whatever the locale.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket as sockets
import struct
import time
from pathlib import Path
from typing import BinaryIO

from actors.errors import PaneGoneError, SettingsError, SocketGoneError, TerminalError
from actors.tmux.protocol import (
    ClientProtocol,
    OtherProtocolError,
    TmuxFrameError,
    TmuxReply,
    command_frame,
    identification,
)

logger = logging.getLogger(__name__)

_SOCKET_PATH_LIMIT_BYTES = 107
CLIENT_ENVIRONMENT = {"LANG": "C.UTF-8", "TERM": "dumb"}
"""A client's whole environment. Without PATH, because tmux gives a new pane the PATH of its client instead of the
server's. Without TMUX, so that nothing is looked up in a tmux around the caller."""
NO_SESSION = "no current target"
"""tmux's answer to a command about panes when the server has no session."""
_BUSY_POLL_S = 0.01
_PIECE_BYTES = 1 << 16


class TmuxClient:
    """Runs commands on the server of one socket. Holds no connection; may be used concurrently.

    ``inherited``: see ``ProcessClient``.
    """

    def __init__(self, socket: Path, timeout_s: float = 10.0, inherited: tuple[int, ...] = ()) -> None:
        self._program = ProcessClient(client_command(socket), timeout_s, inherited)
        self._client: SocketClient | ProcessClient = SocketClient(socket, timeout_s)
        self.socket = socket

    async def run(self, *args: str, stdin: bytes | None = None) -> str:
        """The output of a chain. A separate argument ``;`` separates commands; the first failure ends the chain.

        Raises ``PaneGoneError`` without the pane or the server, ``TerminalError`` for everything else.
        """
        try:
            answer = await self._client.ask(args, stdin)
        except OtherProtocolError as error:
            self.call_the_program(f"its server speaks another protocol ({error})")
            answer = await self._client.ask(args, stdin)
        except TmuxFrameError as error:
            self.call_the_program(f"its server sent {error}")
            # Not this chain again: it may have run in part.
            raise TerminalError(f"tmux did not answer: its server sent {error}") from error
        if answer.status:
            raise refusal(answer.errors.decode(errors="replace"))
        return answer.output.decode(errors="replace")

    def call_the_program(self, reason: str) -> None:
        """Uses tmux's own program from now on."""
        logger.warning("tmux's own program is used, which is slower: %s", reason)
        self._client = self._program


class SocketClient:
    """Opens one connection to the server's socket for each chain."""

    def __init__(self, socket: Path, timeout_s: float) -> None:
        self._socket = str(socket)
        self._timeout_s = timeout_s
        self._identification = identification()

    async def ask(self, command: tuple[str, ...], content: bytes | None) -> TmuxReply:
        """The reply to one chain; without a server the reply has the program's error text.

        Raises ``OtherProtocolError`` for a server of another version, with nothing done; ``TerminalError`` without an
        answer and ``TmuxFrameError`` for an unknown one, when the chain may have run.
        """
        protocol = ClientProtocol(content or b"")
        opening = self._identification + command_frame(command)
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    line = await self._connect()
                except OSError as error:
                    return _no_server(self._socket, error)
                with line:
                    return await _converse(line, protocol, opening)
        except TimeoutError:
            raise no_answer(self._timeout_s) from None

    async def _connect(self) -> sockets.socket:
        line = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            line.setblocking(False)
            while True:
                try:
                    line.connect(self._socket)
                except BlockingIOError:  # many clients at once, or the server hangs
                    await asyncio.sleep(_BUSY_POLL_S)
                else:
                    return line
        except BaseException:
            line.close()
            raise


async def _converse(line: sockets.socket, protocol: ClientProtocol, opening: bytes) -> TmuxReply:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(line, opening)
        while protocol.answer is None:
            heard = await loop.sock_recv(line, _PIECE_BYTES)
            if not heard:
                raise TerminalError("tmux did not answer: its server has ended")
            await loop.sock_sendall(line, protocol.hear(heard))
    except OSError as error:
        raise TerminalError(f"tmux did not answer: its server has ended ({error})") from error
    return protocol.answer


class ProcessClient:
    """Starts tmux's program for each chain, in the directory ``cwd``.

    The process inherits the open files ``inherited``, so a lock stays held while a client may still type, even when the
    caller is killed. It reads and writes files in memory: after a kill during a write to a pipe, tmux would take a part
    for all, and a killed client's pipes stay open while the server hangs, because a client passes its standard files to
    the server.
    """

    def __init__(
        self, program: tuple[str, ...], timeout_s: float, inherited: tuple[int, ...] = (), cwd: Path = Path("/")
    ) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._inherited = inherited
        self._cwd = cwd

    async def ask(self, command: tuple[str, ...], content: bytes | None) -> TmuxReply:
        """Raises ``TerminalError`` without an answer. The process is reaped in any case."""
        with _memory_file(content or b"") as stdin, _memory_file() as output, _memory_file() as errors:
            try:
                client = await asyncio.create_subprocess_exec(
                    *self._program,
                    *command,
                    stdin=stdin,
                    stdout=output,
                    stderr=errors,
                    env=CLIENT_ENVIRONMENT,
                    cwd=self._cwd,
                    pass_fds=self._inherited,
                )
            except OSError as error:
                raise TerminalError(f"tmux could not be started: {error}") from error
            try:
                async with asyncio.timeout(self._timeout_s):
                    status = await client.wait()
            except TimeoutError:
                raise no_answer(self._timeout_s) from None
            finally:
                if client.returncode is None:
                    client.kill()
                    await client.wait()
            return TmuxReply(status=status, output=_content_of(output), errors=_content_of(errors))


def _memory_file(content: bytes = b"") -> BinaryIO:
    file = open(os.memfd_create("phalanx"), "w+b")  # noqa: PTH123, SIM115 - a descriptor; the caller closes it
    file.write(content)
    file.seek(0)
    return file


def _content_of(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def ask(socket: Path, command: tuple[str, ...], cwd: Path, timeout_s: float) -> TmuxReply:
    """``SocketClient.ask`` for a thread, with a client that works in ``cwd``."""
    opening = identification(cwd) + command_frame(command)
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as line:
        # The kernel's timeout: with Python's, connect fails at once while the server's queue is full.
        line.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, _timeval(timeout_s))
        try:
            line.connect(str(socket))
        except BlockingIOError:
            raise no_answer(timeout_s) from None
        except OSError as error:
            return _no_server(str(socket), error)
        line.settimeout(timeout_s)
        return _converse_blocking(line, ClientProtocol(b""), opening, timeout_s)


def _converse_blocking(line: sockets.socket, protocol: ClientProtocol, opening: bytes, timeout_s: float) -> TmuxReply:
    deadline = time.monotonic() + timeout_s
    say = opening
    try:
        while True:
            line.sendall(say)
            heard = line.recv(_PIECE_BYTES)
            if not heard:
                raise TerminalError("tmux did not answer: its server has ended")
            say = protocol.hear(heard)
            if protocol.answer is not None:
                return protocol.answer
            if time.monotonic() > deadline:
                raise no_answer(timeout_s)
    except TimeoutError:
        raise no_answer(timeout_s) from None
    except OSError as error:
        raise TerminalError(f"tmux did not answer: its server has ended ({error})") from error


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1e6))


def _no_server(socket: str, error: OSError) -> TmuxReply:
    """What tmux's program says then."""
    told = f"error connecting to {socket} ({os.strerror(error.errno or 0)})"
    if isinstance(error, ConnectionRefusedError):
        told = f"no server running on {socket}"
    return TmuxReply(status=1, output=b"", errors=os.fsencode(told))


def tmux_program() -> str:
    """The absolute path of tmux. Raises ``TerminalError`` when there is none."""
    program = shutil.which("tmux")
    if program is None:
        raise TerminalError(
            "tmux not found: install it with your system's package manager, for example apt-get install tmux"
        )
    return program


def client_command(socket: Path) -> tuple[str, ...]:
    """The words before the tmux command. ``-N`` keeps a client from starting a server with its environment.

    Raises ``SettingsError`` for a socket path that is too long, ``TerminalError`` without tmux.
    """
    check_socket_path(socket)
    return (tmux_program(), "-N", "-u", "-S", str(socket))


def check_socket_path(socket: Path) -> None:
    length_bytes = len(str(socket).encode())
    if length_bytes > _SOCKET_PATH_LIMIT_BYTES:
        raise SettingsError(
            f"the path of the tmux socket is too long for a Unix socket: {socket} has {length_bytes} bytes, at most "
            f"{_SOCKET_PATH_LIMIT_BYTES} are possible. Set PHALANX_HOME to a shorter path."
        )


def never_late(buffer: str = "phalanx-none") -> tuple[str, ...]:
    """The beginning of a chain that must not run after its client has gone.

    A server that hung runs the waiting chains when it wakes: a key would go into whatever the pane shows by then.
    Loading a buffer asks the client for the content, so the chain of a client that has gone ends here. With an empty
    standard input no buffer is made.
    """
    return ("load-buffer", "-b", buffer, "-", ";")


def refusal(stderr: str) -> TerminalError:
    """The error for tmux's error output. ``PaneGoneError`` means that no pane or server was there, so nothing was
    done."""
    said = stderr.strip()
    if "can't find pane" in said or said == NO_SESSION:
        return PaneGoneError(f"the pane is gone ({said}): its agent has to be started again")
    if said.startswith("error connecting") and "No such file" in said:
        return SocketGoneError(
            f"the tmux server's socket is gone ({said}): a running server restores it, and phalanx up starts a new one"
        )
    if said.startswith("no server running"):
        again = "`phalanx up --resume` starts the agents again with their conversations"
        return PaneGoneError(f"the tmux server is gone with all its panes: {again}")
    return TerminalError(f"tmux refused: {said or 'it gave no reason'}")


def no_answer(timeout_s: float) -> TerminalError:
    return TerminalError(f"tmux did not answer within {timeout_s:g} s: its server hangs or the machine is overloaded")
