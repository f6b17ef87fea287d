"""The demo's terminal: ``KeyReader`` turns bytes into keys, ``InputBuffer`` edits the draft, ``paint`` draws; all pure.

The screen has the shape of Claude Code's: a conversation, then either the input box between two rules with hints below,
or a dialog. All text that somebody wrote is indented or led in, so only the program itself draws at the left edge.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import NamedTuple

_PASTE_BEGIN = "\x1b[200~"
_PASTE_END = "\x1b[201~"
_PIECE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])|[^\x00-\x1f\x7f]+|.", re.DOTALL)
"""A whole sequence, a run of text, or one control character."""
_LINE_END = re.compile(r"\r\n?")

_COLLAPSE_LINE_BREAKS = 3
_COLLAPSE_CHARACTERS = 800
_MENTION = re.compile(r"(?:^|\s)(@[\w./-]{0,30})\Z")
_COMPLETION = "@demo-file.txt "

POINTER = "\u276f"
_NBSP = "\xa0"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_GREY = "\x1b[38;5;246m"
_BLUE = "\x1b[38;5;153m"
_PINK = "\x1b[38;5;211m"
_RULE = "\x1b[38;5;244m"
_SPINNER = "\x1b[38;5;174m"
_MINE = "\x1b[38;5;239m\x1b[48;5;237m"
_PLAIN = "\x1b[39m"
_RESET = "\x1b[0m"
_CARET = f"\x1b[7m \x1b[0m{_PLAIN}\x1b[49m"
_LONGEST_QUEUED = 2000


class Key(Enum):
    ENTER = auto()
    NEWLINE = auto()
    ESCAPE = auto()
    CTRL_C = auto()
    CTRL_U = auto()
    BACKSPACE = auto()
    UP = auto()
    DOWN = auto()


_KEYS = {
    "\r": Key.ENTER,
    "\n": Key.NEWLINE,
    "\x03": Key.CTRL_C,
    "\x15": Key.CTRL_U,
    "\x08": Key.BACKSPACE,
    "\x7f": Key.BACKSPACE,
    "\x1b": Key.ESCAPE,
    "\x1b[A": Key.UP,
    "\x1b[B": Key.DOWN,
}


class TypedKey(NamedTuple):
    text: str


class PastedText(NamedTuple):
    text: str


Input = Key | TypedKey | PastedText


class KeyReader:
    """Keeps what is not complete yet: half a character, an open paste, an escape that may begin a sequence."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def waits(self) -> bool:
        """A lone escape is held back; ``flush`` it when nothing follows soon."""
        return self._rest.startswith("\x1b") and not self._rest.startswith(_PASTE_BEGIN)

    def feed(self, data: bytes) -> Iterator[Input]:
        """The inputs that are complete now; a sequence that means nothing here is none."""
        self._rest += self._decoder.decode(data)
        while self._rest:
            if self._rest.startswith(_PASTE_BEGIN):
                text, end, rest = self._rest.removeprefix(_PASTE_BEGIN).partition(_PASTE_END)
                if not end:
                    return
                self._rest = rest
                yield PastedText(_LINE_END.sub("\n", text))
                continue
            piece = next(_PIECE.finditer(self._rest))[0]
            if piece == "\x1b" and (len(self._rest) == 1 or self._rest[1] in "[O"):
                return
            self._rest = self._rest[len(piece) :]
            if piece in _KEYS:
                yield _KEYS[piece]
            elif piece.isprintable() or (len(piece) > 1 and piece[0] != "\x1b"):
                yield TypedKey(piece)

    def flush(self) -> Iterator[Input]:
        """Nothing followed the escape: it was the key."""
        if self.waits:
            self._rest = self._rest[1:]
            yield Key.ESCAPE
            yield from self.feed(b"")


class InputBuffer:
    """What was typed and pasted since the last submit. A long paste shows as a placeholder, as in Claude Code."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, str]] = []
        """What is shown, and the pasted text that it stands for; empty for text that is shown itself."""
        self._pastes = 0

    @property
    def shown(self) -> str:
        """What the input box shows."""
        return "".join(shown for shown, _ in self._parts)

    @property
    def text(self) -> str:
        """What a submit would send: blanks at the end are not sent, unless they stand in a collapsed paste."""
        full = "".join(collapsed or shown for shown, collapsed in self._parts)
        return full if self._parts and self._parts[-1][1] else full.rstrip()

    @property
    def mention(self) -> bool:
        """The draft ends so that Claude Code opens its menu of files; Enter completes then instead of submitting."""
        return _MENTION.search(self.shown) is not None

    def type(self, text: str) -> None:
        before = self._parts.pop()[0] if self._parts and not self._parts[-1][1] else ""
        self._parts.append((before + text, ""))

    def paste(self, text: str) -> None:
        clean = text.replace("\t", "    ")
        line_breaks = clean.count("\n")
        if line_breaks < _COLLAPSE_LINE_BREAKS and len(clean) <= _COLLAPSE_CHARACTERS:
            self.type(unicodedata.normalize("NFC", clean))
            return
        self._pastes += 1
        lines = f" +{line_breaks} lines" if line_breaks else ""
        self._parts.append((f"[Pasted text #{self._pastes}{lines}]", clean))

    def backspace(self) -> None:
        shown, collapsed = self._parts.pop() if self._parts else ("", "")
        if not collapsed and shown[:-1]:
            self._parts.append((shown[:-1], ""))

    def complete_mention(self) -> None:
        if found := _MENTION.search(self.shown):
            shown, _ = self._parts.pop()
            self._parts.append((shown.removesuffix(found[1]) + _COMPLETION, ""))

    def escape_enter(self) -> bool:
        """A backslash at the end turns Enter into a new line; False when there is none."""
        if not self.shown.endswith("\\"):
            return False
        self.backspace()
        self.type("\n")
        return True

    def replace(self, text: str) -> None:
        self.clear()
        self.type(text)

    def clear(self) -> None:
        self._parts = []


class DialogView(NamedTuple):
    title: str
    body: tuple[str, ...]
    question: str
    options: tuple[str, ...]
    hint: str = "Esc to cancel · Tab to amend"
    chosen: int = 0
    """Index of the option with the pointer."""


class ScreenView(NamedTuple):
    """All that is on the screen. ``conversation`` holds ``(speaker, text)``; see ``said``."""

    conversation: tuple[tuple[str, str], ...] = ()
    draft: str = ""
    queued: tuple[str, ...] = ()
    busy: bool = False
    hint: str = ""
    dialog: DialogView | None = None
    menu: tuple[str, ...] = ()
    """A completion menu below the input box."""


def paint(view: ScreenView, width: int, height: int) -> str:
    """What to write so that the terminal shows ``view``: the last ``height`` rows of it."""
    below = _dialog(view.dialog, width) if view.dialog else [*_busy_rows(view, width), *_composer(view, width)]
    shown = [*_conversation(view, width, height), *below][-height:]
    text = "\r\n".join(f"{_RESET}{row}{_RESET}\x1b[K" for row in shown)
    return f"\x1b[H{text}\x1b[J{_cursor(view, width, shown)}"


def _cursor(view: ScreenView, width: int, shown: list[str]) -> str:
    """Puts the cursor, which nobody sees, where the next character goes, or on the chosen option."""
    if view.dialog:
        below = len(view.dialog.options) - view.dialog.chosen
        return f"\x1b[{max(len(shown) - below - 1, 1)};2H"
    last = wrapped(view.draft.removeprefix("!"), width - 3)[-1]
    below = len(view.menu) or 1
    return f"\x1b[{len(shown) - below - 1};{3 + sum(map(_cells, last))}H"


def _conversation(view: ScreenView, width: int, height: int) -> list[str]:
    """The last rows of the conversation, at least ``height`` if there are as many."""
    rows: list[str] = []
    for speaker, text in reversed(view.conversation):
        rows = [*said(speaker, text[-width * height :], width), "", *rows]
        if len(rows) >= height:
            break
    return rows


def _busy_rows(view: ScreenView, width: int) -> list[str]:
    spinner = [f"{_SPINNER}✶{_PLAIN} {_SPINNER}Rehearsing… {_PLAIN}", ""] if view.busy else []
    queued = [row for text in view.queued for row in said("user", text[-_LONGEST_QUEUED:], width - 2)]
    return [*spinner, *(f"  {row}" for row in queued)]


def said(speaker: str, text: str, width: int) -> list[str]:
    """The rows of one thing said by the user, the agent, a tool or the program itself."""
    style, lead = {
        "user": (f"{_MINE}", f"{POINTER} "),
        "agent": ("\x1b[38;5;231m", "● "),
        "tool": (_GREY, f"  ⎿ {_NBSP}"),
        "program": (_GREY, "✻ "),
    }[speaker]
    indent = " " * (len(lead) if speaker == "tool" else 2)
    rows = wrapped(text, width - len(indent) - 1)
    return [f"{style}{lead if i == 0 else indent}{row}{_RESET}" for i, row in enumerate(rows)]


def _composer(view: ScreenView, width: int) -> list[str]:
    bash = view.draft.startswith("!")
    colour = _PINK if bash else _RULE
    rule = f"{colour}{'─' * width}{_PLAIN}"
    lead = f"{_PINK}!{_NBSP}" if bash else f"{_GREY if view.busy else _PLAIN}{POINTER}{_NBSP}{_PLAIN}"
    rows = wrapped(view.draft[1:] if bash else view.draft, width - 3)
    rows[-1] += _CARET if view.draft or not view.queued else _ghost("Press up to edit queued messages")
    box = [f"{lead if i == 0 else '  '}{row}" for i, row in enumerate(rows)]
    return [rule, *box, rule, *(view.menu or [f"  {_GREY}{_hint(view)}{_PLAIN}"])]


def _ghost(text: str) -> str:
    return f"\x1b[7m{text[0]}\x1b[0;2m{text[1:]}{_RESET}"


def _hint(view: ScreenView) -> str:
    if view.hint:
        return view.hint
    return "esc to interrupt" if view.busy else "? for shortcuts"


def _dialog(dialog: DialogView, width: int) -> list[str]:
    body = [f"   {row}" for text in dialog.body for row in wrapped(text, width - 4)]
    options = [
        f" {_BLUE}{POINTER}{_PLAIN} {_GREY}{i}.{_PLAIN} {_BLUE}{text}{_PLAIN}"
        if i == dialog.chosen + 1
        else f"   {_GREY}{i}.{_PLAIN} {text}"
        for i, text in enumerate(dialog.options, 1)
    ]
    return [
        f"{_BLUE}{'─' * width}{_PLAIN}",
        f" \x1b[1m{_BLUE}{clean(dialog.title)}{_RESET}",
        "",
        *body,
        "",
        f" {dialog.question}",
        *options,
        "",
        f" {_GREY}{dialog.hint}{_PLAIN}",
    ]


def clean(text: str) -> str:
    """One line without anything that a terminal could obey."""
    return _CONTROL.sub(" ", text)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of ``text``, broken so that none is wider than ``width`` cells; at least one."""
    return [row for line in text.split("\n") for row in _broken(clean(line), max(width, 2))]


def _broken(line: str, width: int) -> Iterable[str]:
    if line.isascii():
        return [line[i : i + width] for i in range(0, len(line), width)] or [""]
    rows, row, cells = [], "", 0
    for character in line:
        taken = _cells(character)
        if cells + taken > width:
            rows.append(row)
            row, cells = "", 0
        row += character
        cells += taken
    return [*rows, row]


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
