"""Turns the bytes that a terminal sends into keys; pure."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

_PASTE_BEGIN = "\x1b[200~"
_PASTE_END = "\x1b[201~"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])")
_LINE_END = re.compile(r"\r\n?")


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
}
_SEQUENCES = {"\x1b[A": Key.UP, "\x1b[B": Key.DOWN}


class Typed(NamedTuple):
    text: str


class Pasted(NamedTuple):
    text: str


Input = Key | Typed | Pasted


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
        self._rest += self._decoder.decode(data)
        while self._rest:
            found = self._take()
            if found is None:
                return
            if found:
                yield from found

    def flush(self) -> Iterator[Input]:
        """Nothing followed the escape: it was the key."""
        if self.waits:
            self._rest = self._rest[1:]
            yield Key.ESCAPE
            yield from self.feed(b"")

    def _take(self) -> tuple[Input, ...] | None:
        """The next input, empty for a sequence that means nothing here, None when more bytes are needed."""
        first = self._rest[0]
        if first == "\x1b":
            return self._take_escape()
        if first in _KEYS:
            self._rest = self._rest[1:]
            return (_KEYS[first],)
        text = re.match(r"[^\x00-\x1f\x7f]+|.", self._rest, re.DOTALL)
        typed = text[0] if text else first
        self._rest = self._rest[len(typed) :]
        return (Typed(typed),) if typed.isprintable() or len(typed) > 1 else ()

    def _take_escape(self) -> tuple[Input, ...] | None:
        if self._rest.startswith(_PASTE_BEGIN):
            text, end, rest = self._rest.removeprefix(_PASTE_BEGIN).partition(_PASTE_END)
            if not end:
                return None
            self._rest = rest
            return (Pasted(_LINE_END.sub("\n", text)),)
        if sequence := _SEQUENCE.match(self._rest):
            self._rest = self._rest[sequence.end() :]
            key = _SEQUENCES.get(sequence[0])
            return (key,) if key else ()
        if len(self._rest) == 1 or self._rest[1] in "[O":
            return None
        self._rest = self._rest[1:]
        return (Key.ESCAPE,)
