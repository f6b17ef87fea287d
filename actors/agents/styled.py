"""Reads a pane's capture with its styles (``tmux capture-pane -e``) into rows; pure.

Only the two styles that mean something are kept: dim, in which ghost text is written, and reversed, in which the caret
is drawn. In a capture a style runs on over the end of a row, and trailing blanks are left out even when one of them is
the caret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_ESCAPE = re.compile(r"\x1b\[([0-9;:]*)m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x0e\x0f\r]")
_STYLE = re.compile(r"\x1b\[([0-9;:]*)m")


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring characters of one style. ``start`` is the index of the first in its row's text."""

    start: int
    text: str
    dim: bool
    reverse: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row. What its styles are is worked out only when asked, which is so for few rows of a screen."""

    text: str
    reverse_at_end: bool
    """The style at the row's end is reversed: a caret may stand on a blank that was left out."""
    _line: str
    _style: tuple[bool, bool]
    """At its beginning: dim, reversed."""

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    @property
    def runs(self) -> tuple[Run, ...]:
        style = self._style
        runs: list[Run] = []
        length = position = 0
        for escape in [*_ESCAPE.finditer(self._line), None]:
            end = escape.start() if escape else len(self._line)
            if end > position:
                runs.append(Run(length, self._line[position:end], *style))
                length += end - position
            if escape:
                position = escape.end()
                if escape[1] is not None:
                    style = _after(style, escape[1])
        return tuple(runs)

    def caret(self) -> int | None:
        """Index of the first reversed character, or of the one left out at the end; None without any."""
        for run in self.runs:
            if run.reverse:
                return run.start
        return len(self.text) if self.reverse_at_end else None

    def has_colour(self, number: int) -> bool:
        """Whether some of it is written in this one of the 256 colours."""
        return f"38;5;{number}m" in self._line

    def is_dim_at(self, index: int) -> bool:
        return any(run.dim and run.start <= index < run.start + len(run.text) for run in self.runs)


def read_rows(styled: str) -> list[Row]:
    """The rows of a capture from the top."""
    rows: list[Row] = []
    style = (False, False)
    for line in styled.split("\n"):
        begin = style
        for escape in _STYLE.findall(line):
            style = _after(style, escape)
        rows.append(Row(_ESCAPE.sub("", line), style[1], line, begin))
    return rows


@lru_cache(maxsize=256)
def _after(style: tuple[bool, bool], parameters: str) -> tuple[bool, bool]:
    """The style, dim and reversed, after an SGR sequence with these parameters: few, again and again."""
    dim, reverse = style
    codes = parameters.replace(":", ";").split(";")
    while codes:
        code = codes.pop(0)
        if code in {"38", "48", "58"}:  # a colour follows: 5;N or 2;R;G;B
            del codes[: 2 if codes[:1] == ["5"] else 4]
        elif code in {"", "0"}:
            dim = reverse = False
        elif code in {"2", "22"}:
            dim = code == "2"
        elif code in {"7", "27"}:
            reverse = code == "7"
    return dim, reverse
