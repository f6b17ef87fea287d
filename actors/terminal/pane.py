"""Typing into one agent's pane and reading its screen: the hot path of every instance actor.

Owns the tmux clients it starts: each is one process for a whole chain of commands, bounded by a timeout, killed and
reaped when the timeout passes or the caller is cancelled. Imports the standard library only, because what an instance
actor imports is paid once per instance.

After ``PaneGoneError`` or ``ValueError`` nothing was typed, and nothing of it will be. After any other
``TerminalError`` from ``paste`` or ``press`` this is likely too, but not certain: the server may have typed without
saying so in time.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from actors.errors import PaneGoneError, TerminalError
from actors.terminal.command import CLIENT_ENVIRONMENT, NO_SESSION, client_command, never_late, no_answer, refusal

Key = Literal["Enter", "Escape", "C-c"]

_KEY_BYTES: Final[dict[Key, str]] = {"Enter": "0d", "Escape": "1b", "C-c": "03"}
"""In hexadecimal. Sent as bytes, because what a key's name sends depends on tmux's version and extended-keys."""

_PANE_ID = re.compile(r"%[0-9]+")
_UNTYPABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_DISCARD_TIMEOUT_S = 1.0
_ENDED = "ended"

PANE_FORMAT = (
    "#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{session_created}:#{session_name}"
)
"""One pane a line, as ``parse_pane`` reads it. The name stands last: whatever it holds, it ends no other field."""

_STATE_FORMAT = (
    "#{pid}:#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{pane_in_mode}:"
    "#{pane_current_command}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneInfo:
    """One pane in a listing. ``pid`` is the pane's own program; ``created_s`` the session's birth, Unix seconds.

    ``exit_status`` is as in ``PaneState``, but None also when tmux has missed it: ``Pane.state`` makes tmux look.
    """

    session_name: str
    pane_id: str
    pid: int
    dead: bool
    exit_status: int | None
    created_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneState:
    """``exit_status`` is None while the program runs, negative (-9) when a signal ended it. ``command`` is the name of
    the program in the foreground; ``in_mode`` says that copy mode or the like takes the keys."""

    pid: int
    dead: bool
    exit_status: int | None
    in_mode: bool
    command: str


class Tmux:
    """Runs commands against the server on one socket. Holds no connection; may be shared and used concurrently."""

    def __init__(self, socket: Path, timeout_s: float = 10.0) -> None:
        self._command = client_command(socket)
        self._timeout_s = timeout_s

    async def run(self, *args: str, stdin: bytes | None = None) -> str:
        """What the command printed. ``;`` as an argument of its own separates commands; the first that fails ends all.

        Raises ``PaneGoneError`` for a pane or server that is not there, ``TerminalError`` for all else, with the
        client ended and reaped in any case.
        """
        transport, client = await self._start(args, stdin)
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.ended.wait()
        except TimeoutError:
            raise no_answer(self._timeout_s) from None
        finally:
            _end(transport)
            await client.ended.wait()
        if transport.get_returncode():
            raise refusal(client.errors.decode(errors="replace"))
        return client.output.decode(errors="replace")

    async def _start(
        self, args: tuple[str, ...], stdin: bytes | None
    ) -> tuple[asyncio.SubprocessTransport, _ClientProtocol]:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            transport, client = await asyncio.get_running_loop().subprocess_exec(
                _ClientProtocol,
                *self._command,
                *args,
                stdin=nothing if stdin is None else pipe,
                stdout=pipe,
                stderr=pipe,
                env=CLIENT_ENVIRONMENT,
            )
        except OSError as error:
            raise TerminalError(f"tmux could not be started: {error}") from error
        if stdin is not None:
            _input(transport).write(stdin)
            _input(transport).write_eof()
        return transport, client


class _ClientProtocol(asyncio.SubprocessProtocol):
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


def _end(transport: asyncio.SubprocessTransport) -> None:
    """Kills the client if it still runs and closes its pipes, without waiting for anybody to read what is in them."""
    if transport.get_pipe_transport(0) is not None and _input(transport).get_write_buffer_size():
        _input(transport).abort()
    transport.close()


def _input(transport: asyncio.SubprocessTransport) -> asyncio.WriteTransport:
    return cast("asyncio.WriteTransport", transport.get_pipe_transport(0))


class Pane:
    """One agent's pane, addressed only by its ``%id``, which tmux never gives to another pane.

    Calls are not ordered among each other: the caller types one thing after the other.
    """

    def __init__(self, tmux: Tmux, pane_id: str) -> None:
        if not _PANE_ID.fullmatch(pane_id):
            raise ValueError(f"not the id of a tmux pane: {pane_id!r} (they look like %12)")
        self._tmux = tmux
        self._id = pane_id

    async def capture(self, *, history_lines: int = 0, styled: bool = False) -> str:
        """The screen's lines as they stand there, joined by newlines, after up to ``history_lines`` that have scrolled
        off; with their SGR sequences when ``styled``. A program that has ended leaves its last screen."""
        options = ["-e"] if styled else []
        if history_lines > 0:
            options += ["-S", f"-{history_lines}"]
        text = await self._tmux.run("capture-pane", "-p", *options, "-t", self._id)
        return text.removesuffix("\n")

    async def paste(self, data: str) -> None:
        """Types ``data`` as one bracketed paste (newlines arrive as carriage returns). Leaves copy mode first.

        Raises ``ValueError`` for empty text and for control characters other than newline and tab.
        """
        payload = _payload(data)
        buffer = f"phalanx-{os.urandom(16).hex()}"
        pasted = False
        try:
            await self._type(f"paste-buffer -p -d -b {buffer} -t {self._id}", never_late(buffer), payload)
            pasted = True
        finally:
            if not pasted:
                await self._discard(buffer)

    async def press(self, key: Key) -> None:
        """Sends one key to the program, after leaving copy mode."""
        await self._type(f"send-keys -t {self._id} -H {_KEY_BYTES[key]}", never_late(), None)

    async def state(self) -> PaneState:
        server_pid, state = await self._read_state()
        if state.dead and state.exit_status is None:
            # tmux before 3.5 can miss the end of a program and would never learn its status; this makes it look.
            with suppress(ProcessLookupError):
                os.kill(server_pid, signal.SIGCHLD)
            _, state = await self._read_state()
        return state

    async def _read_state(self) -> tuple[int, PaneState]:
        answer = await self._tmux.run("display-message", "-p", "-t", self._id, _STATE_FORMAT)
        server_pid, pane_id, pid, dead, status, ended_by, modes, command = answer.removesuffix("\n").split(":", 7)
        if pane_id != self._id:
            raise PaneGoneError(f"the pane is gone ({self._id}): its agent has to be started again")
        return int(server_pid), PaneState(
            pid=int(pid),
            dead=dead == "1",
            exit_status=_exit_status(status, ended_by),
            in_mode=modes not in {"", "0"},
            command=command,
        )

    async def _type(self, command: str, chain: tuple[str, ...], content: bytes | None) -> None:
        # tmux 3.3a dies, with every agent, of a paste into a pane whose program has ended. Looking and typing are one
        # step, because tmux reads no event between the two.
        type_if_alive = ("if-shell", "-F", "-t", self._id, "#{pane_dead}", f"display-message -p {_ENDED}", command)
        answer = await self._tmux.run(*chain, "copy-mode", "-q", "-t", self._id, ";", *type_if_alive, stdin=content)
        if answer.strip() == _ENDED:
            raise PaneGoneError(f"the program in pane {self._id} has ended: its agent has to be started again")

    async def _discard(self, buffer: str) -> None:
        with suppress(TerminalError, TimeoutError):
            async with asyncio.timeout(_DISCARD_TIMEOUT_S):
                await self._tmux.run("delete-buffer", "-b", buffer)


async def list_panes(tmux: Tmux) -> list[PaneInfo]:
    """Every pane of the server, in one tmux process; ``[]`` when it has no session.

    Raises ``TerminalError`` when no server answers.
    """
    try:
        answer = await tmux.run("list-panes", "-a", "-F", PANE_FORMAT)
    except PaneGoneError as error:
        if NO_SESSION in str(error):
            return []
        raise
    return [parse_pane(line) for line in answer.split("\n") if line]


def parse_pane(line: str) -> PaneInfo:
    pane_id, pid, dead, status, ended_by, created_s, session_name = line.split(":", 6)
    return PaneInfo(
        session_name=session_name,
        pane_id=pane_id,
        pid=int(pid),
        dead=dead == "1",
        exit_status=_exit_status(status, ended_by),
        created_s=int(created_s),
    )


def _payload(data: str) -> bytes:
    if not data:
        raise ValueError("there is nothing to paste: the text is empty")
    if found := _UNTYPABLE.search(data):
        raise ValueError(
            f"the text holds {found[0]!r} at character {found.start()}: remove control characters before it is pasted"
        )
    return data.encode()


def _exit_status(status: str, ended_by: str) -> int | None:
    if status:
        return int(status)
    return -int(ended_by) if ended_by else None
