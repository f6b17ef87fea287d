"""Reads a pane's capture with its styles into rows; pure.

A styled capture is what ``tmux capture-pane -e`` prints, and behind it, where it is known, the sequence that puts a
terminal's cursor at its place (``ESC [ row ; column H``, both from 1): shown on a terminal, the capture looks as the
pane did. Row 0, which no terminal has, says that the pane's program reads no keys. Only the styles that mean something
are kept: dim, in which ghost text is written, and the colour of the text. In a capture a style runs on over the end of
a row, and trailing blanks are left out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

ESCAPE = re.compile(
    r"\x1b\[([0-9;:]*)m|\x1b\[[0-9;:?]*[@-ln-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x0e\x0f\r]"
)
"""Everything in a capture that is no text; the group holds the parameters of a style."""
_STYLE = re.compile(r"\x1b\[([0-9;:]*)m")
_CURSOR = re.compile(r"\x1b\[([0-9]+);([0-9]+)H\Z")


class Cursor(NamedTuple):
    """Where the terminal's cursor stands, from 0; ``column`` counts cells. ``row`` is -1 while nobody reads keys."""

    row: int
    column: int


class Style(NamedTuple):
    dim: bool = False
    colour: str = ""
    """Of the text, as SGR parameters like ``38;5;246``; empty for the terminal's own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. What its styles are is worked out only when asked, which is so for few rows of a screen."""

    text: str
    _line: str
    _style: Style
    """At its beginning."""

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    def style_at(self, index: int) -> Style:
        """Of one character; the plain style beyond the row's text."""
        if index >= len(self.text):
            return Style()
        style, position = self._style, 0
        for escape in ESCAPE.finditer(self._line):
            index -= escape.start() - position
            if index < 0:
                break
            position = escape.end()
            if escape[1] is not None:
                style = _after(style, escape[1])
        return style

    def index_at(self, column: int) -> int:
        """Index of the character that covers the cell ``column``; beyond the text one for each cell."""
        cells = 0
        for index, character in enumerate(self.text):
            taken = cells_of(character)
            if cells + taken > column:
                return index
            cells += taken
        return len(self.text) + column - cells


def read_capture(styled: str) -> tuple[list[Row], Cursor | None]:
    """The rows of a capture from the top, and the cursor where the capture tells it."""
    cursor = _CURSOR.search(styled)
    if cursor is None:
        return read_rows(styled), None
    return read_rows(styled[: cursor.start()]), Cursor(int(cursor[1]) - 1, int(cursor[2]) - 1)


def read_rows(styled: str) -> list[Row]:
    """The rows of a capture without its cursor, from the top."""
    rows: list[Row] = []
    style = Style()
    for line in styled.split("\n"):
        begin = style
        for escape in _STYLE.findall(line):
            style = _after(style, escape)
        rows.append(Row(ESCAPE.sub("", line), line, begin))
    return rows


def cells_of(character: str) -> int:
    """How many cells of a terminal's row it takes."""
    if character.isascii():
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@lru_cache(maxsize=1024)
def _after(style: Style, parameters: str) -> Style:
    """The style after an SGR sequence with these parameters: few, again and again."""
    codes = parameters.replace(":", ";").split(";")
    while codes:
        code = codes.pop(0)
        if code in {"38", "48", "58"}:  # a colour follows: 5;N or 2;R;G;B
            length = 2 if codes[:1] == ["5"] else 4
            if code == "38":
                style = style._replace(colour=";".join([code, *codes[:length]]))
            del codes[:length]
        elif code in {"", "0"}:
            style = Style()
        elif code in {"2", "22"}:
            style = style._replace(dim=code == "2")
        elif code == "39":
            style = style._replace(colour="")
        elif len(code) == 2 and code[0] in "39" and code[1] in "01234567":
            style = style._replace(colour=code)
    return style
