"""Takes what was said out of a capture, so that it can be kept or shown to somebody who is to learn from it; pure."""

from __future__ import annotations

from collections.abc import Collection

from actors.agents.claude_box import find_box
from actors.agents.claude_dialog import SUSPENDED, begin_of_dialog, read_dialog
from actors.agents.styled import ESCAPE, cells_of, read_capture

_LETTERS = {0: "", 1: "x", 2: "ｘ"}  # noqa: RUF001 - as wide as what it stands for


def scrubbed(styled: str) -> str:
    """The capture with every letter of the conversation and of the draft as an x, every digit as a 0.

    The words of a dialog, the hints, all rules, frames and styles stay, and every character keeps its width.
    """
    kept = _rows_kept(styled)
    return "\n".join(line if i in kept else _without_words(line) for i, line in enumerate(styled.split("\n")))


def _rows_kept(styled: str) -> Collection[int]:
    rows, cursor = read_capture(styled)
    while rows and rows[-1].blank:
        rows.pop()
    box = find_box(rows, None if cursor is None or cursor.row < 0 else cursor)
    if box is not None:
        lower = len(rows) - len(box.below) - 1
        # The rule above says how much of the draft is not on the screen.
        return {*range(lower, len(rows)), *([len(box.above)] if box.scrolled else [])}
    suspended = [index for index, row in enumerate(rows) if SUSPENDED.match(row.text)]
    if suspended:
        return suspended
    begin = begin_of_dialog(rows)
    if begin is not None:
        return range(begin, len(rows))
    return range(len(rows) - 1, len(rows)) if read_dialog(rows) else ()


def _without_words(line: str) -> str:
    found: list[str] = []
    position = 0
    for escape in [*ESCAPE.finditer(line), None]:
        found += map(_hidden, line[position : escape.start() if escape else None])
        if escape:
            # A link holds its address.
            found.append("" if escape[0].startswith("\x1b]") else escape[0])
            position = escape.end()
    return "".join(found)


def _hidden(character: str) -> str:
    if character.isdecimal():
        return "0"
    return _LETTERS[cells_of(character)] if character.isalpha() else character
