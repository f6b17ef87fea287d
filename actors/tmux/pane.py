"""One agent's pane: typing, reading its screen, and waiting for it to change.

Typing into one agent's pane and reading its screen: the hot path of every instance actor.

A client for each chain of commands. Not one in control mode for all: tmux 3.3a dies, with every agent, when a session
comes or goes while such a client attaches. Imports the standard library only, because what an instance actor imports is
paid once per instance.

After ``PaneGoneError`` or ``ValueError`` nothing was typed, and nothing of it will be. After any other
``TerminalError`` from ``paste`` or ``press`` this is likely too, but not certain: the server may have typed without
saying so in time.

The names of pastes: each paste has one of its own, which is also the name of its tmux buffer.

What tmux is given to type as one paste or several; pure.

tmux types a newline of a buffer as the separator that it is told, and everything else as it is. So parts that are to
arrive as pastes of their own go in one buffer, in one step: between them stands the newline, whose separator ends one
bracketed paste and begins the next. Newlines within the parts are then written as what tmux makes of them otherwise.

Tells who waits for a screen to change that its program has drawn: nobody need look at one that stands still.

Used by ``Pane``. The kernel's inotify sees what a program writes to its terminal as it sees what is written to a file:
no process, no client of tmux. A user has only some hundred inotifies, so one is held while something is waited for and
no longer. Standard library only.

The size of a window, which is that of who looks into it and otherwise its own. Standard library only.

Whether a program reads the keys of its terminal, as the kernel knows it. Used by ``Pane``. Standard library only.

A program in a pane has no shell above it. The kernel does not stop such a one on Ctrl-Z, and tmux lets go on what was
stopped otherwise. But a program that suspends itself gives its terminal back and waits for SIGCONT: meanwhile keys are
echoed, gathered into lines, and read by nobody.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

from actors.errors import PaneGoneError, TerminalError
from actors.inotify import WRITTEN, Inotify
from actors.tmux.client import TmuxClient, never_late

_NAME = re.compile(r"phalanx-[0-9a-f]{32}")


def paste_name() -> str:
    """A name that no other paste has."""
    return f"phalanx-{os.urandom(16).hex()}"


def checked(name: str) -> str:
    """The name, which holds nothing that tmux could take for a command. Raises ``ValueError`` for any other text."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a paste: {name!r} (take one from paste_name)")
    return name


_UNTYPABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NEXT_PASTE = r'-s "\e[201~\e[200~"'


def payload(parts: tuple[str, ...]) -> bytes:
    """The content of the buffer. Raises ``ValueError`` for empty text and control characters but newline and tab."""
    if not all(parts) or not parts:
        raise ValueError("there is nothing to paste: the text is empty")
    for part in parts:
        if found := _UNTYPABLE.search(part):
            raise ValueError(
                f"the text holds {found[0]!r} at character {found.start()}: remove control characters before it is "
                "pasted"
            )
    if len(parts) == 1:
        return parts[0].encode()
    return "\n".join(part.replace("\n", "\r") for part in parts).encode()


def paste_options(parts: tuple[str, ...]) -> str:
    """With which tmux types them."""
    return f"-p -d {_NEXT_PASTE}" if len(parts) > 1 else "-p -d"


@contextmanager
def watch_drawing(terminal: str, tell: Callable[[], None]) -> Iterator[bool]:
    """Inside, ``tell`` is called in the running event loop whenever something was written to ``terminal``.

    Yields False where that cannot be told: then ``tell`` is never called.
    """
    inotify = _watching(terminal)
    if inotify is None:
        yield False
        return

    def hear() -> None:
        for _ in inotify.events():
            pass
        tell()

    loop = asyncio.get_running_loop()
    loop.add_reader(inotify.fileno(), hear)
    try:
        yield True
    finally:
        loop.remove_reader(inotify.fileno())
        # The kernel takes some 10 ms for it.
        loop.run_in_executor(None, inotify.close)


def _watching(terminal: str) -> Inotify | None:
    inotify = Inotify.open() if terminal else None
    if inotify is None:
        return None
    with suppress(OSError):
        inotify.add(terminal, WRITTEN)
        return inotify
    inotify.close()
    return None


COLUMNS, ROWS = 200, 50
"""The size of a window that nobody looks into, or one column more: room for whole dialogs."""

_WIDER = "@phalanx_wider"


def own_size(target: str = "") -> str:
    """The tmux command that gives a window its own size: of one column more than the last time, or one less.

    A program learns that its window has changed a moment later and looks only at the size that it has by then. Were
    that the size that it knows, it would not draw again what tmux has cut off meanwhile. Claude Code draws all of its
    screen again for another width, not for another height.
    """
    to = f"-t {target} " if target else ""
    return (
        f"if-shell -F {to}'#{{{_WIDER}}}' "
        f"{{ resize-window {to}-x {COLUMNS} -y {ROWS} ; set-option -w {to}-u {_WIDER} }} "
        f"{{ resize-window {to}-x {COLUMNS + 1} -y {ROWS} ; set-option -w {to}{_WIDER} 1 }} ; "
        # resize-window makes a window keep that size whoever comes.
        f"set-option -w {to}-u window-size"
    )


_LOCAL_MODES = 3


def is_stopped(terminal: str) -> bool:
    """Whether the terminal gathers lines; False where that cannot be told."""
    with suppress(OSError, termios.error):
        descriptor = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return bool(termios.tcgetattr(descriptor)[_LOCAL_MODES] & termios.ICANON)
        finally:
            os.close(descriptor)
    return False


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

_LOOK_FORMAT = "#{cursor_x}:#{cursor_y}:#{pane_dead}:#{pane_tty}"

_STATE_FORMAT = (
    "#{pid}:#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{pane_in_mode}:"
    "#{session_created}:#{pane_tty}:#{pane_current_command}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneInfo:
    """The pane of a session that was just opened. ``pid`` is the pane's own program, 0 where tmux does not tell that of
    one that has ended (since 3.8)."""

    session_name: str
    pane_id: str
    pid: int


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

    def __init__(self, tmux: TmuxClient, pane_id: str) -> None:
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
        return watch_drawing(self._terminal, tell)

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


def _last_key(told: str) -> LastKey:
    clients, _, at = told.strip().partition(":")
    return LastKey(looks=clients not in ("", "0"), at=int(at or 0))


def _exit_status(status: str, ended_by: str) -> int | None:
    if status:
        return int(status)
    return -int(ended_by) if ended_by else None
