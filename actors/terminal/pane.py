"""Typing into one agent's pane and reading its screen: the hot path of every instance actor.

A client for each chain of commands. Not one in control mode for all: tmux 3.3a dies, with every agent, when a session
comes or goes while such a client attaches. Imports the standard library only, because what an instance actor imports is
paid once per instance.

After ``PaneGoneError`` or ``ValueError`` nothing was typed, and nothing of it will be. After any other
``TerminalError`` from ``paste`` or ``press`` this is likely too, but not certain: the server may have typed without
saying so in time.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final, Literal

from actors.errors import PaneGoneError, TerminalError
from actors.terminal.command import NO_SESSION, never_late
from actors.terminal.drawing import told_of_drawing
from actors.terminal.paste_names import checked, paste_name
from actors.terminal.payload import paste_options, payload
from actors.terminal.sizes import own_size
from actors.terminal.stopped import is_stopped
from actors.terminal.tmux import Tmux

__all__ = ["Key", "LastKey", "Pane", "PaneInfo", "PaneState", "Tmux", "list_panes", "parse_pane"]

Key = Literal["Enter", "Escape", "C-c", "Up", "Down", "Shift-Tab"]

_KEY_BYTES: Final[dict[Key, str]] = {
    "Enter": "0d",
    "Escape": "1b",
    "C-c": "03",
    "Up": "1b 5b 41",
    "Down": "1b 5b 42",
    "Shift-Tab": "1b 5b 5a",
}
"""In hexadecimal. Sent as bytes, because what a key's name sends depends on tmux's version and extended-keys."""

_LAST_KEY_FORMAT = "#{session_attached}:#{session_activity}"
_TYPED = "typed"
_DRAWN_S = 2.0
"""A key is drawn within a second, and tmux tells its time in whole seconds."""
_PANE_ID = re.compile(r"%[0-9]+")
_LAST_PASTE = "@phalanx_pasted"
"""The pane's own note of the paste that tmux carried out last, set in the same step as the paste."""
_REFUSED_PASTE = "@phalanx_refused"
"""The pane's own note of a paste that is not to be carried out any more, as its caller has given it up."""
_DISCARD_TIMEOUT_S = 1.0
_ENDED = "ended"

PANE_FORMAT = (
    "#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{session_created}:#{session_name}"
)
"""One pane a line, as ``parse_pane`` reads it. The name stands last: whatever it holds, it ends no other field."""

_LOOK_FORMAT = "#{cursor_x}:#{cursor_y}:#{pane_dead}:#{pane_tty}"

_STATE_FORMAT = (
    "#{pid}:#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{pane_in_mode}:"
    "#{session_created}:#{pane_tty}:#{pane_current_command}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneInfo:
    """One pane in a listing. ``pid`` is the pane's own program, 0 where tmux does not tell that of one that has ended
    (since 3.8); ``created_s`` the session's birth, Unix seconds.

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
    """``pid`` as in ``PaneInfo``. ``exit_status`` is None while the program runs, negative (-9) when a signal ended it,
    which tmux tells since 3.3: before, it stays None.
    ``command`` is the name of the program in the foreground; ``in_mode`` says that copy mode or the like takes the
    keys; ``created_s`` is the session's birth, Unix seconds. ``stopped`` says that the program runs but reads no keys:
    it has suspended itself (Ctrl-Z) until SIGCONT comes, or has not set up its terminal yet."""

    pid: int
    dead: bool
    exit_status: int | None
    in_mode: bool
    created_s: int
    command: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class LastKey:
    """The last key that a person has pressed in a pane's session: ``at``, in whole seconds since the epoch. ``looks``:
    somebody looks into it now."""

    looks: bool
    at: int

    def drawn_in_s(self, now: float) -> float:
        """In how many seconds a look shows all that people have typed up to it. ``now``: seconds since the epoch."""
        return max(self.at + _DRAWN_S - now, 0.0) if self.looks else 0.0


class Pane:
    """One agent's pane, addressed only by its ``%id``, which tmux never gives to another pane.

    Calls are not ordered among each other: the caller types one thing after the other.
    """

    def __init__(self, tmux: Tmux, pane_id: str) -> None:
        if not _PANE_ID.fullmatch(pane_id):
            raise ValueError(f"not the id of a tmux pane: {pane_id!r} (they look like %12)")
        self._tmux = tmux
        self._id = pane_id
        self._terminal = ""

    async def capture(self, *, history_lines: int = 0, styled: bool = False) -> str:
        """The screen's lines as they stand there, joined by newlines, after up to ``history_lines`` that have scrolled
        off. A program that has ended leaves its last screen.

        When ``styled``, lines have their SGR sequences, and the sequence that puts the cursor at its place on the
        screen ends it all: programs may hide the cursor, but they leave it where the next character would go. The
        place is row 0, which no screen has, while the program reads no keys (see ``PaneState.stopped``).
        """
        options = ["-e"] if styled else []
        if history_lines > 0:
            options += ["-S", f"-{history_lines}"]
        capture = ("capture-pane", "-p", *options, "-t", self._id)
        if not styled:
            return (await self._tmux.run(*capture)).removesuffix("\n")
        # In one step, because tmux reads no event between the two.
        look = ("display-message", "-p", "-t", self._id, _LOOK_FORMAT, ";")
        seen, _, text = (await self._tmux.run(*look, *capture)).partition("\n")
        column, row, dead, terminal = seen.split(":", 3)
        stopped = dead != "1" and is_stopped(terminal)
        place = "0;0" if stopped else f"{int(row or 0) + 1};{int(column or 0) + 1}"
        return text.removesuffix("\n") + f"\x1b[{place}H"

    async def paste(self, data: str | tuple[str, ...], name: str = "", after: LastKey | None = None) -> LastKey | None:
        """Types ``data`` as one bracketed paste, or each of its parts as one, in one step; newlines arrive as carriage
        returns. Leaves copy mode first. Gives the last key of a person before it. With ``after`` only if no person has
        pressed one since that; None when somebody has.

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
            tell = f"display-message -p -t {self._id} '{_LAST_KEY_FORMAT}'"
            told = await self._type(self._unless_typed(f"{paste} ; {noted} ; {tell}", after), buffer, content)
            pasted = told.strip() != _TYPED
        finally:
            if not pasted:
                await self._discard(buffer)
        return _last_key(told) if pasted else None

    async def has_pasted(self, name: str) -> bool:
        """Whether the last paste that tmux carried out in this pane is the one of this name.

        tmux itself has noted it in one step with the paste, and in one step with the answer it notes that it shall not
        carry it out later: so the answer holds, also after a crash of the caller with the paste still on its way. What
        tmux keeps of a paste that was not carried out is removed.
        """
        refuse = ("set-option", "-p", "-t", self._id, _REFUSED_PASTE, checked(name), ";")
        look = ("display-message", "-p", "-t", self._id, f"#{{pane_id}}:#{{{_LAST_PASTE}}}")
        answer = await self._tmux.run(*refuse, *look)
        await self._discard(name)
        pane_id, _, last = answer.removesuffix("\n").partition(":")
        self._check_is_this(pane_id)
        return last == name

    async def press(self, key: Key, after: LastKey | None = None) -> bool:
        """Sends one key to the program, after leaving copy mode. With ``after`` only if no person has pressed one since
        that; False when somebody has. tmux decides and types in one step.
        """
        send = self._unless_typed(f"send-keys -t {self._id} -H {_KEY_BYTES[key]}", after)
        return (await self._type(send, paste_name(), b"")).strip() != _TYPED

    def _unless_typed(self, command: str, after: LastKey | None) -> str:
        if after is None:
            return command
        still = f"#{{==:#{{session_activity}},{after.at}}}"
        return f'if-shell -F -t {self._id} "{still}" "{command}" "display-message -p {_TYPED}"'

    async def last_key(self) -> LastKey:
        return _last_key(await self._tmux.run("display-message", "-p", "-t", self._id, _LAST_KEY_FORMAT))

    async def redraw(self) -> None:
        """Makes the program draw its whole screen anew, by another width of its window. No-op while somebody looks
        into it: then its size is theirs."""
        unseen = "#{==:#{session_attached},0}"
        await self._tmux.run("if-shell", "-F", "-t", self._id, unseen, own_size(self._id))

    def drawing(self, tell: Callable[[], None]) -> AbstractContextManager[bool]:
        """Inside, ``tell`` is called when the program has written to its terminal: a look then shows what it drew.

        Gives False where that cannot be told, as before ``state`` was asked for the first time.
        """
        return told_of_drawing(self._terminal, tell)

    async def state(self) -> PaneState:
        server_pid, state = await self._read_state()
        if state.dead and state.exit_status is None:
            # tmux before 3.5 can miss the end of a program and would never learn its status; this makes it look.
            with suppress(ProcessLookupError):
                os.kill(server_pid, signal.SIGCHLD)
            _, state = await self._read_state()
        return state

    async def _read_state(self) -> tuple[int, PaneState]:
        # tmux 3.2a dies, with every agent, when it is asked for the state of a pane that is gone. So it is asked for
        # the pane first, in the same step.
        there = ("has-session", "-t", self._id, ";")
        answer = await self._tmux.run(*there, "display-message", "-p", "-t", self._id, _STATE_FORMAT)
        fields = answer.removesuffix("\n").split(":", 9)
        server_pid, pane_id, pid, dead, status, ended_by, modes, created_s, terminal, command = fields
        self._check_is_this(pane_id)
        self._terminal = terminal
        return int(server_pid), PaneState(
            pid=int(pid or 0),
            dead=dead == "1",
            exit_status=_exit_status(status, ended_by),
            in_mode=modes not in {"", "0"},
            created_s=int(created_s or 0),
            command=command,
            stopped=dead != "1" and is_stopped(terminal),
        )

    def _check_is_this(self, pane_id: str) -> None:
        """tmux answers for a pane that is gone as well, with empty fields."""
        if pane_id != self._id:
            raise PaneGoneError(f"the pane is gone ({self._id}): its agent has to be started again")

    async def _type(self, command: str, buffer: str, content: bytes) -> str:
        # tmux 3.3a dies, with every agent, of a paste into a pane whose program has ended. Looking and typing are one
        # step, because tmux reads no event between the two.
        unwanted = f"#{{||:#{{pane_dead}},#{{==:#{{{_REFUSED_PASTE}}},{buffer}}}}}"
        type_if_alive = ("if-shell", "-F", "-t", self._id, unwanted, f"display-message -p {_ENDED}", command)
        words = (*never_late(buffer), "copy-mode", "-q", "-t", self._id, ";", *type_if_alive)
        answer = await self._tmux.run(*words, stdin=content or None)
        if answer.strip() == _ENDED:
            raise PaneGoneError(f"the program in pane {self._id} has ended: its agent has to be started again")
        return answer

    async def _discard(self, buffer: str) -> None:
        with suppress(TerminalError, TimeoutError):
            async with asyncio.timeout(_DISCARD_TIMEOUT_S):
                await self._tmux.run("delete-buffer", "-b", buffer)


async def list_panes(tmux: Tmux) -> list[PaneInfo]:
    """Every pane of the server; ``[]`` when it has no session.

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
        pid=int(pid or 0),
        dead=dead == "1",
        exit_status=_exit_status(status, ended_by),
        created_s=int(created_s),
    )


def _last_key(told: str) -> LastKey:
    clients, _, at = told.strip().partition(":")
    return LastKey(looks=clients not in ("", "0"), at=int(at or 0))


def _exit_status(status: str, ended_by: str) -> int | None:
    if status:
        return int(status)
    return -int(ended_by) if ended_by else None
