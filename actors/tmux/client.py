"""Calling tmux: over its server's socket, or by its own program.

How tmux is called: which program, with which options and environment, and what its refusals mean.

Shared by ``pane`` (asynchronous, imported by every instance actor) and ``server`` (blocking, on the host). Imports the
standard library only. Promises: a client started this way never starts a server of its own, never carries a variable of
the calling process to tmux, and speaks UTF-8 whatever the locale.

Calling tmux without its program: a connection to the server's socket for each chain of commands.

Used by ``TmuxClient``. To the server this is a client like the program: ``protocol`` says what that would say. Owns the
connections it makes: each is bounded by a timeout, and closed when the timeout passes or the caller is cancelled. None
outlives the process that made it, and what is typed is asked of the client in the midst of the chain (see
``never_late``). Standard library only.

Calling tmux by its own program: a process for each chain of commands.

Used by ``TmuxClient`` when the server cannot be spoken to directly. Owns the processes it starts: each is bounded by a
timeout, killed and reaped when the timeout passes or the caller is cancelled. Standard library only.

Running one chain of tmux commands and reading what it prints.

Used by ``pane``. The server is spoken to directly, because starting tmux's own program for each chain is what a message
would mostly cost; the program is used when the server speaks another protocol than ``protocol`` or says what that does
not know. Promises: no chain is given to tmux twice. Standard library only.

What ``SocketClient`` does, for a thread: calling tmux without its program, one connection for a chain of commands.

Used by ``server``. Owns the connection: it is bounded by a timeout and closed in any case.
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
"""All that a client gets. No PATH on purpose: tmux gives a new pane the PATH of the client that opened it, not the one
of the server's environment. No TMUX either, so that nothing is looked up in the tmux around the caller."""

NO_SESSION = "no current target"
"""What tmux says to a command about panes when the server has no session at all."""


def tmux_program() -> str:
    """The absolute path of tmux. Raises ``TerminalError`` when there is none."""
    program = shutil.which("tmux")
    if program is None:
        raise TerminalError(
            "tmux not found: install it with your system's package manager, for example apt-get install tmux"
        )
    return program


def client_command(socket: Path) -> tuple[str, ...]:
    """The words before the tmux command itself. ``-N``: a client must never bring up a server with its environment.

    Raises ``SettingsError`` for a socket path that no Unix socket can have, ``TerminalError`` without tmux.
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
    """The beginning of a chain that must not be carried out after its client was given up.

    A server that hung answers what waits on its socket when it wakes, though nobody wants it any more: a key would go
    into whatever the pane shows by then. Loading a buffer asks the client for the content, so the chain of a client
    that is gone ends here. A client whose standard input is empty loads nothing: then there is no buffer.
    """
    return ("load-buffer", "-b", buffer, "-", ";")


def content_file(content: bytes) -> int:
    """An open file in memory that holds ``content``.

    Not a pipe: when we are killed while we write into it, tmux would take its first part for the whole.
    """
    descriptor = os.memfd_create("phalanx")
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def refusal(stderr: str) -> TerminalError:
    """The error for what tmux wrote. ``PaneGoneError`` when there was nobody to give the command to, so that surely
    nothing of it happened."""
    said = stderr.strip()
    if "can't find pane" in said or said == NO_SESSION:
        return PaneGoneError(f"the pane is gone ({said}): its agent has to be started again")
    if said.startswith("error connecting") and "No such file" in said:
        return SocketGoneError(
            f"the tmux server's socket is gone ({said}): one that lives is told to make it, and phalanx up starts one"
        )
    if said.startswith("no server running"):
        again = "`phalanx up --resume` starts the agents again with their conversations"
        return PaneGoneError(f"the tmux server is gone with all its panes: {again}")
    return TerminalError(f"tmux refused: {said or 'it gave no reason'}")


def no_answer(timeout_s: float) -> TerminalError:
    return TerminalError(f"tmux did not answer within {timeout_s:g} s: its server hangs or the machine is overloaded")


_BUSY_POLL_S = 0.01
_NO_SERVER = b"no server running on "
_REFUSED = 1
PIECE_BYTES = 1 << 16


class SocketClient:
    def __init__(self, socket: Path, timeout_s: float) -> None:
        self._socket = str(socket)
        self._timeout_s = timeout_s
        self._identification = identification()

    async def ask(self, command: tuple[str, ...], content: bytes | None) -> TmuxReply:
        """A server that is not there is answered for in the words of the program.

        Raises ``OtherProtocolError`` when the server cannot be spoken to, with nothing done; ``TerminalError`` when
        there is no answer and ``TmuxFrameError`` for one that is not understood, with nothing certain.
        """
        protocol = ClientProtocol(content or b"")
        opening = self._identification + command_frame(command)
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    line = await self._connect()
                except OSError as error:
                    return no_server(self._socket, error)
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
                except BlockingIOError:  # many call at once, or the server hangs
                    await asyncio.sleep(_BUSY_POLL_S)
                else:
                    return line
        except BaseException:
            line.close()
            raise


def no_server(socket: str, error: OSError) -> TmuxReply:
    where = os.fsencode(socket)
    reason = os.strerror(error.errno or 0).encode()
    absent = isinstance(error, ConnectionRefusedError)
    errors = _NO_SERVER + where if absent else b"error connecting to %s (%s)" % (where, reason)
    return TmuxReply(status=_REFUSED, output=b"", errors=errors)


async def _converse(line: sockets.socket, protocol: ClientProtocol, opening: bytes) -> TmuxReply:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(line, opening)
        while protocol.answer is None:
            heard = await loop.sock_recv(line, PIECE_BYTES)
            if not heard:
                raise TerminalError("tmux did not answer: its server has ended")
            await loop.sock_sendall(line, protocol.hear(heard))
    except OSError as error:
        raise TerminalError(f"tmux did not answer: its server has ended ({error})") from error
    return protocol.answer


class ProcessClient:
    """Every process inherits the open files ``inherited``: so a lock stays held as long as one of ours may still type,
    even when we are killed meanwhile."""

    def __init__(self, program: tuple[str, ...], timeout_s: float, inherited: tuple[int, ...]) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._inherited = inherited

    async def ask(self, command: tuple[str, ...], content: bytes | None) -> TmuxReply:
        """Raises ``TerminalError`` when there is no answer, with the process ended and reaped in any case."""
        transport, client = await self._start(command, content)
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.ended.wait()
        except TimeoutError:
            raise no_answer(self._timeout_s) from None
        finally:
            transport.close()  # kills a process that still runs
            await client.ended.wait()
        status = transport.get_returncode() or 0
        return TmuxReply(status=status, output=bytes(client.output), errors=bytes(client.errors))

    async def _start(
        self, command: tuple[str, ...], content: bytes | None
    ) -> tuple[asyncio.SubprocessTransport, _OutputCollector]:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        stdin = nothing if content is None else content_file(content)
        try:
            return await asyncio.get_running_loop().subprocess_exec(
                _OutputCollector,
                *self._program,
                *command,
                stdin=stdin,
                stdout=pipe,
                stderr=pipe,
                env=CLIENT_ENVIRONMENT,
                pass_fds=self._inherited,
            )
        except OSError as error:
            raise TerminalError(f"tmux could not be started: {error}") from error
        finally:
            if content is not None:
                os.close(stdin)


class _OutputCollector(asyncio.SubprocessProtocol):
    """Gathers what one client prints. ``ended`` is set when it is reaped and its pipes are closed.

    Not ``asyncio.subprocess.Process``: a client hands its standard files on to the server, so the pipes of a killed
    client have no end as long as the server hangs, and only the transports can close our side of them.
    """

    def __init__(self) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self.output if fd == 1 else self.errors
        received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class TmuxClient:
    """Runs commands against the server on one socket. Holds no connection; may be shared and used concurrently.

    A program that is started inherits the open files ``inherited``; see ``ProcessClient``.
    """

    def __init__(self, socket: Path, timeout_s: float = 10.0, inherited: tuple[int, ...] = ()) -> None:
        self._program = ProcessClient(client_command(socket), timeout_s, inherited)
        self._client: SocketClient | ProcessClient = SocketClient(socket, timeout_s)
        self.socket = socket

    async def run(self, *args: str, stdin: bytes | None = None) -> str:
        """What the command printed. ``;`` as an argument of its own separates commands; the first that fails ends all.

        Raises ``PaneGoneError`` for a pane or server that is not there, ``TerminalError`` for all else.
        """
        answer = await self._ask(args, stdin)
        if answer.status:
            raise refusal(answer.errors.decode(errors="replace"))
        return answer.output.decode(errors="replace")

    async def _ask(self, command: tuple[str, ...], content: bytes | None) -> TmuxReply:
        try:
            return await self._client.ask(command, content)
        except OtherProtocolError as error:
            self.call_the_program(f"its server speaks another protocol ({error})")
            return await self._client.ask(command, content)
        except TmuxFrameError as error:
            self.call_the_program(f"its server sent {error}")
            # But not this chain again: how far it came is not known.
            raise TerminalError(f"tmux did not answer: its server sent {error}") from error

    def call_the_program(self, reason: str) -> None:
        """From now on tmux's own program is started for each chain."""
        logger.warning("tmux's own program is used, which takes longer: %s", reason)
        self._client = self._program


def ask(socket: Path, command: tuple[str, ...], cwd: Path, timeout_s: float) -> TmuxReply:
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
        return _converse_blocking(line, ClientProtocol(b""), opening, timeout_s)


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1e6))


def _converse_blocking(line: sockets.socket, protocol: ClientProtocol, opening: bytes, timeout_s: float) -> TmuxReply:
    deadline = time.monotonic() + timeout_s
    say = opening
    try:
        while True:
            line.sendall(say)
            heard = line.recv(PIECE_BYTES)
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
