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
from typing import Final, Literal

from actors.errors import PaneGoneError, TerminalError
from actors.terminal.command import (
    CLIENT_ENVIRONMENT,
    NO_SESSION,
    client_command,
    content_file,
    never_late,
    no_answer,
    refusal,
)
from actors.terminal.paste_names import checked, paste_name
from actors.terminal.payload import paste_options, payload

Key = Literal["Enter", "Escape", "C-c"]

_KEY_BYTES: Final[dict[Key, str]] = {"Enter": "0d", "Escape": "1b", "C-c": "03"}
"""In hexadecimal. Sent as bytes, because what a key's name sends depends on tmux's version and extended-keys."""

_PANE_ID = re.compile(r"%[0-9]+")
_LAST_PASTE = "@phalanx_pasted"
"""The pane's own note of the paste that tmux carried out last, set in the same step as the paste."""
_DISCARD_TIMEOUT_S = 1.0
_ENDED = "ended"

PANE_FORMAT = (
    "#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{session_created}:#{session_name}"
)
"""One pane a line, as ``parse_pane`` reads it. The name stands last: whatever it holds, it ends no other field."""

_STATE_FORMAT = (
    "#{pid}:#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{pane_in_mode}:"
    "#{session_created}:#{pane_current_command}"
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
    the program in the foreground; ``in_mode`` says that copy mode or the like takes the keys; ``created_s`` is the
    session's birth, Unix seconds."""

    pid: int
    dead: bool
    exit_status: int | None
    in_mode: bool
    created_s: int
    command: str


class Tmux:
    """Runs commands against the server on one socket. Holds no connection; may be shared and used concurrently.

    Every client inherits the open files ``inherited``: so a lock stays held as long as a client of ours may still type,
    even when we are killed meanwhile.
    """

    def __init__(self, socket: Path, timeout_s: float = 10.0, inherited: tuple[int, ...] = ()) -> None:
        self._command = client_command(socket)
        self._timeout_s = timeout_s
        self._inherited = inherited

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
            transport.close()  # kills a client that still runs
            await client.ended.wait()
        if transport.get_returncode():
            raise refusal(client.errors.decode(errors="replace"))
        return client.output.decode(errors="replace")

    async def _start(
        self, args: tuple[str, ...], stdin: bytes | None
    ) -> tuple[asyncio.SubprocessTransport, _ClientProtocol]:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        content = nothing if stdin is None else content_file(stdin)
        try:
            return await asyncio.get_running_loop().subprocess_exec(
                _ClientProtocol,
                *self._command,
                *args,
                stdin=content,
                stdout=pipe,
                stderr=pipe,
                env=CLIENT_ENVIRONMENT,
                pass_fds=self._inherited,
            )
        except OSError as error:
            raise TerminalError(f"tmux could not be started: {error}") from error
        finally:
            if stdin is not None:
                os.close(content)


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

    async def paste(self, data: str | tuple[str, ...], name: str = "") -> None:
        """Types ``data`` as one bracketed paste, or each of its parts as one, in one step; newlines arrive as carriage
        returns. Leaves copy mode first.

        ``name`` (see ``paste_name``) is for asking later with ``has_pasted``. Raises ``ValueError`` for empty text and
        for control characters other than newline and tab.
        """
        parts = (data,) if isinstance(data, str) else data
        content = payload(parts)
        buffer = checked(name or paste_name())
        pasted = False
        paste = f"paste-buffer {paste_options(parts)} -b {buffer} -t {self._id}"
        noted = f"set-option -p -t {self._id} {_LAST_PASTE} {buffer}"
        try:
            await self._type(f"{paste} ; {noted}", never_late(buffer), content)
            pasted = True
        finally:
            if not pasted:
                await self._discard(buffer)

    async def has_pasted(self, name: str) -> bool:
        """Whether the last paste that tmux carried out in this pane is the one of this name.

        tmux itself has noted it in one step with the paste, so the answer holds after a crash of the caller, once none
        of its clients runs any more. What tmux keeps of a paste that was not carried out is removed.
        """
        await self._discard(checked(name))
        answer = await self._tmux.run("display-message", "-p", "-t", self._id, f"#{{pane_id}}:#{{{_LAST_PASTE}}}")
        pane_id, _, last = answer.removesuffix("\n").partition(":")
        self._check_is_this(pane_id)
        return last == name

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
        fields = answer.removesuffix("\n").split(":", 8)
        server_pid, pane_id, pid, dead, status, ended_by, modes, created_s, command = fields
        self._check_is_this(pane_id)
        return int(server_pid), PaneState(
            pid=int(pid),
            dead=dead == "1",
            exit_status=_exit_status(status, ended_by),
            in_mode=modes not in {"", "0"},
            created_s=int(created_s or 0),
            command=command,
        )

    def _check_is_this(self, pane_id: str) -> None:
        """tmux answers for a pane that is gone as well, with empty fields."""
        if pane_id != self._id:
            raise PaneGoneError(f"the pane is gone ({self._id}): its agent has to be started again")

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


def _exit_status(status: str, ended_by: str) -> int | None:
    if status:
        return int(status)
    return -int(ended_by) if ended_by else None
