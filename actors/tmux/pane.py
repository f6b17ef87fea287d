"""Types into one agent's pane, reads its screen, and notices when it changes.

``Pane`` is the hot path of every instance actor. Standard library only, because every instance pays for the imports.
Each chain of commands has its own client. One client in control mode for all would crash tmux 3.3a, with every agent,
when a session comes or goes while the client attaches.

After ``PaneGoneError`` or ``ValueError`` nothing was typed and nothing will be. After another ``TerminalError`` from
``paste`` or ``press`` this is likely but not certain: the server may have typed without answering in time.

- Several pastes in one step: tmux types a newline in a buffer as the separator that it is given and all else as it is.
  So the parts go in one buffer with a newline in between, and the separator ends one bracketed paste and begins the
  next. Newlines within a part are written as the carriage returns that tmux would make of them.
- Changes: inotify reports what a program writes to its terminal, without a process or a tmux client.
- Ctrl-Z: no shell runs above a program in a pane, and the kernel and tmux resume it when another stops it. But a
  program that suspends itself gives up its terminal and waits for SIGCONT: then keys are echoed, collected into lines,
  and read by no program.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from actors.errors import PaneGoneError, TerminalError
from actors.inotify import WRITTEN, Inotify
from actors.tmux.client import TmuxClient, never_late
from actors.tmux.rendition import printable, styled_lines

_NAME = re.compile(r"phalanx-[0-9a-f]{32}")
_UNTYPABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NEXT_PASTE = r'-s "\e[201~\e[200~"'
COLUMNS, ROWS = 200, 50
"""The size of an unattached window, or one column more: room for whole dialogs."""
_WIDER = "@phalanx_wider"
_LOCAL_MODES = 3
_NO_BYTES = bytes(4)
"""The answer to FIONREAD where nothing waits."""
_UNREAD_S = 5.0
"""A text of 1 MB is read sooner, and a program that works reads between two pieces of its work."""
Key = Literal["Enter", "Escape", "C-c", "Up", "Down", "Shift-Tab"]
_KEY_BYTES: Final[dict[Key, str]] = {
    "Enter": "0d",
    "Escape": "1b",
    "C-c": "03",
    "Up": "1b 5b 41",
    "Down": "1b 5b 42",
    "Shift-Tab": "1b 5b 5a",
}
"""Hexadecimal bytes, because what a key's name sends depends on tmux's version and extended-keys."""
_TYPED_KEYS: Final[dict[str, str]] = {
    "Enter": "0d",
    "Escape": "1b",
    "Tab": "09",
    "BTab": "1b 5b 5a",
    "BSpace": "7f",
    "Up": "1b 5b 41",
    "Down": "1b 5b 42",
    "Right": "1b 5b 43",
    "Left": "1b 5b 44",
    "Home": "1b 5b 48",
    "End": "1b 5b 46",
    "PageUp": "1b 5b 35 7e",
    "PageDown": "1b 5b 36 7e",
    "DC": "1b 5b 33 7e",
}
"""Likewise, of the keys that people press; beside these C-a to C-y. C-z would suspend the program for good."""
_CONTROL_KEY = re.compile(r"C-([a-y])")
_AFTER_ESCAPE_S = 0.05
_LAST_KEY_FORMAT = "#{session_attached}:#{session_activity}"
_TYPED = "typed"
_DRAWN_S = 2.0
"""A key is drawn within a second, and tmux tells its time in whole seconds."""
_PANE_ID = re.compile(r"%[0-9]+")
_LAST_PASTE = "@phalanx_pasted"
"""Pane option: the last paste that tmux carried out, set in the same step as the paste."""
_REFUSED_PASTE = "@phalanx_refused"
"""Pane option: a paste that its caller has given up and that tmux must not carry out later."""
_DISCARD_TIMEOUT_S = 1.0
_ENDED = "ended"
_LOOK_FORMAT = _LAST_KEY_FORMAT + ":#{cursor_x}:#{cursor_y}:#{pane_dead}:#{pane_tty}"
_VIEW_FORMAT = "#{pane_id}:#{cursor_flag}:#{cursor_x}:#{cursor_y}:#{pane_width}:#{pane_height}:#{pane_title}"
_LONGEST_TITLE = 200
_STATE_FORMAT = (
    "#{pid}:#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_dead_status}:#{pane_dead_signal}:#{pane_in_mode}:"
    "#{session_created}:#{pane_tty}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneInfo:
    """The pane of a new session. ``pid`` is its program, 0 when that has ended and tmux (since 3.8) does not tell."""

    session_name: str
    pane_id: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneState:
    pid: int
    """As in ``PaneInfo``."""
    dead: bool
    exit_status: int | None
    """None while the program runs; negative (-9) when a signal ended it, but None then before tmux 3.3."""
    in_mode: bool
    """Copy mode or the like takes the keys."""
    created_s: int
    """When the session was created, in Unix seconds."""
    stopped: bool
    """The program runs but reads no keys: it has suspended itself (Ctrl-Z) or not set up its terminal yet."""


@dataclass(frozen=True, slots=True)
class LastKey:
    """The last key that a person pressed in a pane's session."""

    attached: bool
    """Somebody is attached to the session now."""
    at: int
    """Whole seconds since the epoch."""
    typed: int = 0
    """How often keys of people have come by ``type_keys``."""
    typed_at: float = 0.0
    """When they last did; seconds since the epoch."""

    def drawn_in_s(self, now: float) -> float:
        """In how many seconds the screen shows all keys of people. ``now``: seconds since the epoch."""
        at = max(float(self.at) if self.attached else 0.0, self.typed_at)
        return max(at + _DRAWN_S - now, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneView:
    """What the pane shows. ``cursor``: column and row, from 0; None while it is hidden."""

    columns: int
    rows: int
    lines: tuple[str, ...]
    """One a row, as ``rendition.styled_lines`` makes them."""
    cursor: tuple[int, int] | None
    title: str


@dataclass(frozen=True, slots=True)
class TypedText:
    """Printable text of one line."""

    text: str


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key by tmux's name: Enter, Escape, Tab, BTab, BSpace, DC, arrows, Home, End, PageUp, PageDown, C-a to C-y."""

    name: str


_ESCAPE = NamedKey("Escape")


class Pane:
    """One agent's pane, addressed by its ``%id``, which tmux never reuses. The caller orders its calls."""

    def __init__(self, tmux: TmuxClient, pane_id: str) -> None:
        if not _PANE_ID.fullmatch(pane_id):
            raise ValueError(f"not the id of a tmux pane: {pane_id!r} (they look like %12)")
        self._tmux = tmux
        self._id = pane_id
        self._terminal = ""
        self._typed = 0
        self._typed_at = 0.0
        self._unread_since: float | None = None

    async def capture(self, *, history_lines: int = 0, styled: bool = False) -> str:
        """The screen's lines, joined by newlines, after up to ``history_lines`` that have scrolled off. A program that
        has ended leaves its last screen.

        When ``styled``, lines have their SGR sequences, and a sequence that positions the cursor comes last: a program
        may hide its cursor, but leaves it where the next character would go. The row is 0, which no screen has, while
        the program reads no keys (see ``PaneState.stopped``), and when it has not read what was typed for 5 seconds.
        """
        if styled:
            return (await self.look())[0]
        history = ("-S", f"-{history_lines}") if history_lines > 0 else ()
        return (await self._tmux.run("capture-pane", "-p", *history, "-t", self._id)).removesuffix("\n")

    async def look(self) -> tuple[str, LastKey]:
        """The styled screen, and the last key of a person before it, in one step: tmux handles no event in between."""
        typed = self._typed, self._typed_at
        look = ("display-message", "-p", "-t", self._id, _LOOK_FORMAT, ";")
        answer = await self._tmux.run(*self._if_there, *look, "capture-pane", "-p", "-e", "-t", self._id)
        seen, _, text = answer.partition("\n")
        clients, pressed_at, column, row, dead, terminal = seen.split(":", 5)
        stopped = dead != "1" and self._reads_no_keys(terminal)
        place = "0;0" if stopped else f"{int(row or 0) + 1};{int(column or 0) + 1}"
        return text.removesuffix("\n") + f"\x1b[{place}H", _last_key(f"{clients}:{pressed_at}", *typed)

    def _reads_no_keys(self, terminal: str) -> bool:
        """Also where a program is starved, or stopped by a signal: it shows an old screen, with keys on their way."""
        found, now = _input_of(terminal), time.monotonic()
        if not found.unread:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        return found.collects_lines or (self._unread_since is not None and now - self._unread_since >= _UNREAD_S)

    async def view(self) -> tuple[PaneView, str]:
        """The screen for people to look at, and the same as ``look`` gives it to a program that still runs."""
        seen = ("display-message", "-p", "-t", self._id, _VIEW_FORMAT, ";")
        answer = await self._tmux.run(*self._if_there, *seen, "capture-pane", "-p", "-e", "-t", self._id)
        told, _, text = answer.partition("\n")
        pane_id, shown, column, row, columns, rows, title = told.split(":", 6)
        self._check_is_this(pane_id)
        text = text.removesuffix("\n")
        lines = styled_lines(text)[: int(rows)]
        view = PaneView(
            columns=int(columns),
            rows=int(rows),
            lines=(*lines, *[""] * (int(rows) - len(lines))),
            cursor=(int(column), int(row)) if shown == "1" else None,
            title=printable(title)[:_LONGEST_TITLE],
        )
        return view, f"{text}\x1b[{int(row) + 1};{int(column) + 1}H"

    async def type_keys(self, keys: Sequence[TypedText | NamedKey]) -> None:
        """Types for a person, as from the keyboard of one who is attached, after leaving copy mode.

        What is pasted or pressed later with an ``after`` of before is refused. Raises ``ValueError`` for a text that is
        empty or holds control characters.
        """
        typed = [_typable(each.text) if isinstance(each, TypedText) else _typed_bytes(each.name) for each in keys]
        for place, (key, told) in enumerate(zip(keys, typed, strict=True), 1):
            self._typed, self._typed_at = self._typed + 1, time.time()
            if isinstance(told, bytes):
                await self._type_text(told)
                continue
            await self._type(f"send-keys -t {self._id} -H {told}", paste_name(), b"")
            if key == _ESCAPE and place < len(keys):
                # A program tells this key from the beginning of another one's bytes by the pause behind it.
                await asyncio.sleep(_AFTER_ESCAPE_S)
        self._typed_at = time.time()

    async def _type_text(self, text: bytes) -> None:
        buffer = paste_name()
        try:
            await self._type(f"paste-buffer -r -d -b {buffer} -t {self._id}", buffer, text)
        except TerminalError:
            await self._discard(buffer)
            raise

    async def paste(self, data: str | tuple[str, ...], name: str = "", after: LastKey | None = None) -> LastKey | None:
        """Types ``data`` as one bracketed paste, or each part as one, in one step, after leaving copy mode. Newlines
        arrive as carriage returns. Returns the last key of a person before it. With ``after``, types only if no person
        has pressed a key since that one, and otherwise returns None.

        ``name`` (see ``paste_name``) is for a later ``has_pasted``. Raises ``ValueError`` for empty text and
        for control characters other than newline and tab.
        """
        if self._typed_since(after):
            return None
        parts = (data,) if isinstance(data, str) else data
        content = _payload(parts)
        buffer = _checked(name or paste_name())
        pasted = False
        next_paste = f" {_NEXT_PASTE}" if len(parts) > 1 else ""
        paste = f"paste-buffer -p -d{next_paste} -b {buffer} -t {self._id}"
        noted = f"set-option -p -t {self._id} {_LAST_PASTE} {buffer}"
        try:
            tell = f"display-message -p -t {self._id} '{_LAST_KEY_FORMAT}'"
            told = await self._type(self._unless_typed(f"{paste} ; {noted} ; {tell}", after), buffer, content)
            pasted = told.strip() != _TYPED
        finally:
            if not pasted:
                await self._discard(buffer)
        return _last_key(told, self._typed, self._typed_at) if pasted else None

    async def has_pasted(self, name: str) -> bool:
        """Whether the last paste that tmux carried out in this pane is the one of this name.

        tmux notes the name in the same step as the paste, and refuses a later paste in the same step as this answer. So
        the answer stays true, even if the caller crashed with the paste in transit. Deletes the buffer of a paste that
        was not carried out.
        """
        refuse = ("set-option", "-p", "-t", self._id, _REFUSED_PASTE, _checked(name), ";")
        look = ("display-message", "-p", "-t", self._id, f"#{{pane_id}}:#{{{_LAST_PASTE}}}")
        answer = await self._tmux.run(*refuse, *look)
        await self._discard(name)
        pane_id, _, last = answer.removesuffix("\n").partition(":")
        self._check_is_this(pane_id)
        return last == name

    async def press(self, key: Key, after: LastKey | None = None) -> bool:
        """Sends one key to the program, after leaving copy mode. With ``after``, only if no person has pressed a key
        since that one, and otherwise returns False. tmux checks and types in one step.
        """
        if self._typed_since(after):
            return False
        send = self._unless_typed(f"send-keys -t {self._id} -H {_KEY_BYTES[key]}", after)
        return (await self._type(send, paste_name(), b"")).strip() != _TYPED

    def _typed_since(self, after: LastKey | None) -> bool:
        """Whether keys of people have come by ``type_keys`` since then, of which tmux does not know."""
        return after is not None and after.typed != self._typed

    def _unless_typed(self, command: str, after: LastKey | None) -> str:
        if after is None:
            return command
        still = f"#{{==:#{{session_activity}},{after.at}}}"
        return f'if-shell -F -t {self._id} "{still}" "{command}" "display-message -p {_TYPED}"'

    async def redraw(self) -> None:
        """Makes the program redraw its whole screen, by another width of its window. No-op while somebody is attached,
        because then the size is theirs."""
        unseen = "#{==:#{session_attached},0}"
        await self._tmux.run("if-shell", "-F", "-t", self._id, unseen, own_size(self._id))

    def drawing(self, notify: Callable[[], None]) -> AbstractContextManager[bool]:
        """``watch_drawing`` of this pane's terminal, which is known after the first ``state``."""
        return watch_drawing(self._terminal, notify)

    async def state(self) -> PaneState:
        server_pid, state = await self._read_state()
        if state.dead and state.exit_status is None:
            # tmux before 3.5 can miss the end of a program; SIGCHLD makes it check.
            with suppress(ProcessLookupError):
                os.kill(server_pid, signal.SIGCHLD)
            _, state = await self._read_state()
        return state

    async def _read_state(self) -> tuple[int, PaneState]:
        answer = await self._tmux.run(*self._if_there, "display-message", "-p", "-t", self._id, _STATE_FORMAT)
        fields = answer.removesuffix("\n").split(":", 8)
        server_pid, pane_id, pid, dead, status, ended_by, modes, created_s, terminal = fields
        self._check_is_this(pane_id)
        self._terminal = terminal
        return int(server_pid), PaneState(
            pid=int(pid or 0),
            dead=dead == "1",
            exit_status=_exit_status(status, ended_by),
            in_mode=modes not in {"", "0"},
            created_s=int(created_s or 0),
            stopped=dead != "1" and _input_of(terminal).collects_lines,
        )

    @property
    def _if_there(self) -> tuple[str, ...]:
        """The beginning of a query: tmux 3.2a crashes, with every agent, on one for a pane that is gone. has-session
        checks that in the same step."""
        return ("has-session", "-t", self._id, ";")

    def _check_is_this(self, pane_id: str) -> None:
        """tmux also answers for a pane that is gone, with empty fields."""
        if pane_id != self._id:
            raise PaneGoneError(f"the pane is gone ({self._id}): its agent has to be started again")

    async def _type(self, command: str, buffer: str, content: bytes) -> str:
        # tmux 3.3a crashes, with every agent, on a paste into a pane whose program has ended. Check and typing are one
        # step, because tmux handles no event in between.
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


def _last_key(told: str, typed: int, typed_at: float) -> LastKey:
    clients, _, at = told.strip().partition(":")
    return LastKey(attached=clients not in ("", "0"), at=int(at or 0), typed=typed, typed_at=typed_at)


def _typed_bytes(name: str) -> str:
    """Hexadecimal bytes of a key of ``NamedKey``. Raises ``ValueError`` for any other."""
    if found := _CONTROL_KEY.fullmatch(name):
        return f"{ord(found[1]) - ord('a') + 1:02x}"
    if name not in _TYPED_KEYS:
        raise ValueError(f"there is no key {name!r}")
    return _TYPED_KEYS[name]


def _typable(text: str) -> bytes:
    if not text or _UNTYPABLE.search(text) or "\n" in text or "\t" in text:
        raise ValueError("a text that is typed must not be empty, nor hold control characters")
    return text.encode()


def _exit_status(status: str, ended_by: str) -> int | None:
    if status:
        return int(status)
    return -int(ended_by) if ended_by else None


def paste_name() -> str:
    """A unique name, used for the paste and for its tmux buffer."""
    return f"phalanx-{os.urandom(16).hex()}"


def _checked(name: str) -> str:
    """``name`` if ``paste_name`` may have made it, so that it is safe in a tmux command. Raises ``ValueError``."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a paste: {name!r} (take one from paste_name)")
    return name


def _payload(parts: tuple[str, ...]) -> bytes:
    """The buffer's content. Raises ``ValueError`` for empty text and control characters other than newline and tab."""
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


@contextmanager
def watch_drawing(terminal: str, notify: Callable[[], None]) -> Iterator[bool]:
    """Inside, ``notify`` is called in the running event loop whenever ``terminal`` was written to.

    Yields False, and never calls, where the kernel cannot watch it.
    """
    inotify = Inotify.open() if terminal else None
    try:
        if inotify is not None:
            inotify.add(terminal, WRITTEN)
    except OSError:
        inotify = None
    if inotify is None:
        yield False
        return
    inotify.start(notify)
    try:
        yield True
    finally:
        inotify.stop()


def own_size(target: str = "") -> str:
    """The tmux command that resets a window to its own size, alternately with one column more.

    A program learns of a change a moment later and reads only the size by then. If that were the size it knows, it
    would not redraw what tmux has cut off meanwhile. Claude Code redraws its whole screen for another width, not for
    another height.
    """
    to = f"-t {target} " if target else ""
    return (
        f"if-shell -F {to}'#{{{_WIDER}}}' "
        f"{{ resize-window {to}-x {COLUMNS} -y {ROWS} ; set-option -w {to}-u {_WIDER} }} "
        f"{{ resize-window {to}-x {COLUMNS + 1} -y {ROWS} ; set-option -w {to}{_WIDER} 1 }} ; "
        # Without this, resize-window would fix the size also for attached clients.
        f"set-option -w {to}-u window-size"
    )


class _Input(NamedTuple):
    """Of a terminal. False where it is unknown."""

    collects_lines: bool = False
    """So no program reads its keys."""
    unread: bool = False
    """Keys wait there to be read."""


def _input_of(terminal: str) -> _Input:
    with suppress(OSError, termios.error):
        descriptor = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            unread = fcntl.ioctl(descriptor, termios.FIONREAD, _NO_BYTES) != _NO_BYTES
            return _Input(bool(termios.tcgetattr(descriptor)[_LOCAL_MODES] & termios.ICANON), unread)
        finally:
            os.close(descriptor)
    return _Input()
