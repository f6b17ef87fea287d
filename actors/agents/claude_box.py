"""Finds Claude Code's input box in a capture and reads what stands in it; pure.

Typing into the wrong thing runs commands or answers dialogs, so a box is only believed on positive evidence: two rules
of the same width, between them at the left edge the pointer and a no-break space, and the cursor inside. Claude Code
keeps the terminal's cursor where the next character would go, always, but draws the caret (a reversed cell) only while
its terminal has the focus: who looked into a pane and left it took the caret away. No text of a conversation, of a
question or of a status line moves the cursor. A capture that does not tell the cursor must show the caret in the box
and nothing but hints below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from actors.agents.claude_dialog import POINTER
from actors.agents.styled import Cursor, Row, Style, cells_of

_UPPER_RULE = re.compile(r"─{3,}(?:.*─+)?\s*")
_LOWER_RULE = re.compile(r"─{3,}(?: ↓ \d+ more ─+)?\s*")
_SCROLLED_RULE = re.compile(r"─+ ↑ \d+ more ─+\s*")
_PROMPT = f"{POINTER}\xa0"
_BASH_PROMPT = "!\xa0"
_BASH_COLOUR = "38;5;211"
_INDENT = "  "

_BUSY_HINT = re.compile(r"\besc to interrupt\b", re.IGNORECASE)
_SPINNER = re.compile(r"[·✢✳✶✻✽*] (?:\S.*…(?: \(.*)?|.*\bRetrying in .*)\s*")
_RETRYING = re.compile(r"[·✢✳✶✻✽*] .*\bretrying in \d+.*\battempt (\d+/\d+)", re.IGNORECASE)
_RETRY_ROWS = 8
_WIDTHS_APART = 2
"""A character that Claude Code and tmux take for differently wide leaves the rule below it shorter."""
_GREY = re.compile(r"90|38;5;(?:8|23[2-9]|24\d|25[0-5])|38;2;(\d+);\1;\1")

_OPTION = re.compile(rf"\s{{0,4}}{POINTER} \d+\. ")
_MENU_ENTRY_ABOVE = re.compile(rf"  [ {POINTER}] [/+*] ?\S.*")
_SEARCH_HINT = "search prompts:"


@dataclass(frozen=True, slots=True)
class InputBox:
    """The rows of the input box and of what is around it."""

    above: tuple[Row, ...]
    inside: tuple[Row, ...]
    below: tuple[Row, ...]
    rule: Row
    """The lower one."""
    caret: tuple[int, int]
    """Row inside, and index in its text, of where the next character would go."""

    @property
    def bash_mode(self) -> bool:
        """What is typed runs as a command. Of a scrolled box only the colour of its rules tells."""
        pink = self.scrolled and self.rule.style_at(0).colour == _BASH_COLOUR
        return pink or self.inside[0].text.startswith(_BASH_PROMPT)

    @property
    def scrolled(self) -> bool:
        """The beginning of what stands in it is not on the screen."""
        return not self.inside[0].text.startswith((_PROMPT, _BASH_PROMPT))

    @property
    def menu(self) -> bool:
        """A completion menu is open: Enter would take its entry. Newer versions show it directly above the box, where
        a conversation leaves a blank row."""
        above = bool(self.above) and _MENU_ENTRY_ABOVE.fullmatch(self.above[-1].text) is not None
        return above or _menu_length(self.below) > 0

    @property
    def busy(self) -> bool:
        """A turn is under way: the pointer is grey. Without colours only hints tell, which a status line may forge."""
        if not self.scrolled and self.rule.style_at(0).colour:
            pointer = self.inside[0].style_at(0)
            if pointer.dim or _GREY.fullmatch(pointer.colour):
                return True
            if pointer == Style():
                return False
        spins = any(_SPINNER.fullmatch(row.text) for row in self.above)
        return spins or any(_BUSY_HINT.search(row.text) for row in self.below)

    @property
    def retrying(self) -> str:
        """Which try of how many it is, where the API does not answer; empty where it does."""
        told = map(_RETRYING.match, (row.text for row in reversed(self.above[-_RETRY_ROWS:])))
        found = next(filter(None, told), None)
        return "" if found is None else found[1]

    def typed(self) -> str:
        """The draft without ghost text. Blank rows that were typed count."""
        caret_row, caret = self.caret
        row = self.inside[caret_row]
        texts = [each.text for each in self.inside]
        if _ghost_begins_at(row, caret):
            texts = [*texts[:caret_row], row.text[:caret]]
        elif caret_row == len(self.inside) - 1 and not row.text[caret:].strip():
            # The blank under the caret is not typed, those before it are, even where the capture leaves them out.
            texts[caret_row] = row.text[:caret].ljust(caret)
        return "\n".join(text[len(_INDENT) :] for text in texts)


def find_box(rows: list[Row], cursor: Cursor | None) -> InputBox | None:
    """The input box that takes what is typed; None when there is none, or when the keys go elsewhere."""
    lower = _last_match(rows, _LOWER_RULE, len(rows))
    if lower is None:
        return None
    upper = _last_match(rows, _UPPER_RULE, lower)
    first = 0 if upper is None else upper + 1
    inside, below = tuple(rows[first:lower]), tuple(rows[lower + 1 :])
    if not inside or not _is_bordered(None if upper is None else rows[upper], inside, rows[lower]):
        return None
    if upper is None and not _holds_only_hints(below):
        return None
    caret = _caret(inside, below, None if cursor is None else Cursor(cursor.row - first, cursor.column))
    if caret is None:
        return None
    return InputBox(tuple(rows[: first - 1]) if first else (), inside, below, rows[lower], caret)


def _last_match(rows: list[Row], pattern: re.Pattern[str], before: int) -> int | None:
    return next((i for i in range(before - 1, -1, -1) if pattern.fullmatch(rows[i].text)), None)


def _is_bordered(upper: Row | None, inside: tuple[Row, ...], lower: Row) -> bool:
    """Whether the rows between the rules are a box: with its prompt, or with its beginning scrolled away."""
    if upper is not None and abs(_width(upper) - _width(lower)) > _WIDTHS_APART:
        return False
    if inside[0].text.startswith((_PROMPT, _BASH_PROMPT)):
        return _all_indented(inside[1:])
    return (upper is None or _SCROLLED_RULE.fullmatch(upper.text) is not None) and _all_indented(inside)


def _width(row: Row) -> int:
    return sum(map(cells_of, row.text.rstrip()))


def _caret(inside: tuple[Row, ...], below: tuple[Row, ...], cursor: Cursor | None) -> tuple[int, int] | None:
    if any(row.text.startswith(f"{_INDENT}{_SEARCH_HINT}") for row in below[:1]):
        return None  # older versions draw an empty box while the keys go to the search below it
    if cursor is not None:
        is_inside = 0 <= cursor.row < len(inside) and cursor.column >= len(_INDENT)
        return (cursor.row, inside[cursor.row].index_at(cursor.column)) if is_inside else None
    if not _holds_only_hints(below):
        return None
    carets = ((row, each.caret()) for row, each in enumerate(inside))
    return next(((row, index) for row, index in carets if index is not None), None)


def _all_indented(rows: tuple[Row, ...]) -> bool:
    return all(row.blank or row.text.startswith(_INDENT) for row in rows)


def _menu_length(below: tuple[Row, ...]) -> int:
    """How many rows directly below the box belong to a completion menu, which begins at the left edge."""
    if not below or below[0].blank or below[0].text.startswith(_INDENT):
        return 0
    return next((i for i, row in enumerate(below) if row.blank), len(below))


def _holds_only_hints(below: tuple[Row, ...]) -> bool:
    options = any(_OPTION.match(row.text) for row in below)
    return not options and _all_indented(below[_menu_length(below) :])


def _ghost_begins_at(row: Row, caret: int) -> bool:
    """The first ghost character stands under the caret, not dim; the words behind it are dim, their blanks not."""
    behind = row.text[caret + 1 :]
    first_word = caret + 1 + len(behind) - len(behind.lstrip())
    return bool(behind.strip()) and row.style_at(first_word).dim
