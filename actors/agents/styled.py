"""Reads a pane's capture with its styles (``tmux capture-pane -e``) into rows; pure.

Only the two styles that mean something are kept: dim, in which ghost text is written, and reversed, in which the caret
is drawn. In a capture a style runs on over the end of a row, and trailing blanks are left out even when one of them is
the caret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPE = re.compile(r"\x1b\[([0-9;:]*)m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x0e\x0f\r]")


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring characters of one style. ``start`` is the index of the first in its row's text."""

    start: int
    text: str
    dim: bool
    reverse: bool


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    runs: tuple[Run, ...]
    reverse_at_end: bool
    """The style at the row's end is reversed: a caret may stand on a blank that was left out."""

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    def caret(self) -> int | None:
        """Index of the first reversed character, or of the one left out at the end; None without any."""
        for run in self.runs:
            if run.reverse:
                return run.start
        return len(self.text) if self.reverse_at_end else None

    def is_dim_at(self, index: int) -> bool:
        return any(run.dim and run.start <= index < run.start + len(run.text) for run in self.runs)


def read_rows(styled: str) -> list[Row]:
    """The rows of a capture from the top."""
    style = _Style()
    return [_read_row(line, style) for line in styled.split("\n")]


@dataclass(slots=True)
class _Style:
    dim: bool = False
    reverse: bool = False

    def apply(self, parameters: str) -> None:
        codes = parameters.replace(":", ";").split(";")
        while codes:
            code = codes.pop(0)
            if code in {"38", "48", "58"}:  # a colour follows: 5;N or 2;R;G;B
                del codes[: 2 if codes[:1] == ["5"] else 4]
            elif code in {"", "0"}:
                self.dim = self.reverse = False
            elif code == "2":
                self.dim = True
            elif code == "22":
                self.dim = False
            elif code in {"7", "27"}:
                self.reverse = code == "7"


def _read_row(line: str, style: _Style) -> Row:
    runs: list[Run] = []
    length = position = 0
    for escape in [*_ESCAPE.finditer(line), None]:
        end = escape.start() if escape else len(line)
        if end > position:
            runs.append(Run(length, line[position:end], style.dim, style.reverse))
            length += end - position
        if escape:
            position = escape.end()
            if escape[1] is not None:
                style.apply(escape[1])
    return Row("".join(run.text for run in runs), tuple(runs), style.reverse)
