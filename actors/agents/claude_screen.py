"""What one capture of Claude Code's pane shows; pure.

Typing into the wrong thing runs commands or answers dialogs, so a composer is only believed on positive evidence: two
rules over the whole width, between them at the left edge the pointer and a no-break space, the caret inside, and below
nothing but hints. Everything that people or agents write is indented by Claude Code, so no text of a conversation can
forge this at the left edge; a question in a dialog could, which is why the rows below count as well. Whatever is not
understood reads as ABSENT.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.styled import Row, read_rows

_UPPER_RULE = re.compile(r"─{3,}(?:.*─{2,})?\s*")
_SCROLLED_RULE = re.compile(r"─{3,} ↑ \d+ more ─+\s*")
"""Newer versions show as much of a tall draft as fits, without the pointer of its first row."""
_LOWER_RULE = re.compile(r"─{10,}\s*")
_POINTER = "\u276f"
_PROMPT = f"{_POINTER}\xa0"
_BASH_PROMPT = "!\xa0"
_BASH_COLOUR = 211
"""Of the rules around the input box in bash mode."""
_INDENT = "  "

_BUSY_HINT = re.compile(r"\besc to interrupt\b", re.IGNORECASE)
_SPINNER = re.compile(r"[·✢✳✶✻✽*] (?:\S.*…(?: \(.*)?|.*\bRetrying in .*)\s*")

_OPTION = re.compile(rf"\s{{0,4}}{_POINTER} \d+\. ")
_MENU_ENTRY_ABOVE = re.compile(rf"  [ {_POINTER}] [/+*] ?\S.*")
_DIALOG_HINT = re.compile(
    r"\b(?:esc|enter)(?:/\S+)? to \w+|↑/↓ to|\bPress Enter\b|Showing detailed transcript", re.IGNORECASE
)
_LAST_ROWS = 20

_SEARCH_HINT = "search prompts:"
_NOT_LOGGED_IN = "Not logged in"

_TROUBLES = (
    ("Yes, I trust this folder", "Claude Code asks whether to trust the working directory"),
    ("Do you want to use this API key?", "Claude Code asks whether to use the API key of the environment"),
    ("Bypass Permissions mode", "Claude Code asks to confirm the mode bypassPermissions"),
    ("Select login method", "Claude Code is not logged in: run claude once and log in"),
    ("Choose the text style", "Claude Code was never set up for this user: run claude once and answer its questions"),
    ("Security notes:", "Claude Code was never set up for this user: run claude once and answer its questions"),
    ("Unknown hook event", "This Claude Code is too old for Phalanx: its settings dialog names hooks it does not know"),
    ("Unable to connect to Anthropic services", "Claude Code cannot reach Anthropic's services"),
)
_TROUBLE_NOT_LOGGED_IN = "Claude Code is not logged in: run claude once and log in"


@dataclass(frozen=True, slots=True)
class _Box:
    """The rows of the input box and of what is around it."""

    above: tuple[Row, ...]
    inside: tuple[Row, ...]
    below: tuple[Row, ...]
    scrolled: bool

    def has(self, *prompts: str) -> bool:
        return self.inside[0].text.startswith(prompts)


def read_screen(styled: str) -> Screen:
    """See ``Agent.read_screen``."""
    rows = read_rows(styled)
    while rows and rows[-1].blank:
        rows.pop()
    box = _find_box(rows)
    if box is None:
        return _without_composer(rows)
    busy = _is_busy(box)
    if any(_SEARCH_HINT in row.text for row in box.below) or not (box.scrolled or box.has(_PROMPT)):
        return Screen(composer=Composer.ABSENT, dialog=Dialog(), busy=busy)
    if any(_NOT_LOGGED_IN in row.text for row in box.below):
        return Screen(composer=Composer.ABSENT, trouble=_TROUBLE_NOT_LOGGED_IN)
    return _with_composer(box, busy)


def _find_box(rows: list[Row]) -> _Box | None:
    lower = _last_match(rows, _LOWER_RULE, len(rows))
    if lower is None:
        return None
    upper = _last_match(rows, _UPPER_RULE, lower)
    if upper is None or upper + 1 == lower:
        return None
    scrolled = _SCROLLED_RULE.fullmatch(rows[upper].text) is not None and not rows[upper].has_colour(_BASH_COLOUR)
    box = _Box(tuple(rows[:upper]), tuple(rows[upper + 1 : lower]), tuple(rows[lower + 1 :]), scrolled)
    begins = box.has(_INDENT) if scrolled else box.has(_PROMPT, _BASH_PROMPT)
    return box if begins and _all_indented(box.inside[1:]) and _holds_only_hints(box.below) else None


def _last_match(rows: list[Row], pattern: re.Pattern[str], before: int) -> int | None:
    return next((i for i in range(before - 1, -1, -1) if pattern.fullmatch(rows[i].text)), None)


def _all_indented(rows: tuple[Row, ...]) -> bool:
    return all(row.blank or row.text.startswith(_INDENT) for row in rows)


def _menu_length(below: tuple[Row, ...]) -> int:
    """How many rows directly below the box belong to a completion menu, which begins at the left edge."""
    if not below or below[0].blank or below[0].text.startswith(_INDENT):
        return 0
    return next((i for i, row in enumerate(below) if row.blank), len(below))


def _has_menu_above(box: _Box) -> bool:
    """Newer versions show the completion menu directly above the box, where a conversation leaves a blank row."""
    return bool(box.above) and _MENU_ENTRY_ABOVE.fullmatch(box.above[-1].text) is not None


def _holds_only_hints(below: tuple[Row, ...]) -> bool:
    options = any(_OPTION.match(row.text) for row in below)
    return not options and _all_indented(below[_menu_length(below) :])


def _with_composer(box: _Box, busy: bool) -> Screen:
    typed = _typed_text(box.inside)
    if typed is None:
        return Screen(composer=Composer.ABSENT, busy=busy)
    composer = Composer.DRAFT if typed or box.scrolled else Composer.EMPTY
    menu = _menu_length(box.below) > 0 or _has_menu_above(box)
    draft, dialog = typed.rstrip("\n"), Dialog() if menu else None
    return Screen(composer=composer, draft=draft, scrolled=box.scrolled, dialog=dialog, busy=busy)


def _typed_text(inside: tuple[Row, ...]) -> str | None:
    """The draft without ghost text; None without a caret. Blank rows that were typed count."""
    caret_row = next((i for i, row in enumerate(inside) if row.caret() is not None), None)
    if caret_row is None:
        return None
    row = inside[caret_row]
    caret = row.caret() or 0
    texts = [each.text for each in inside]
    if _ghost_begins_at(row, caret):
        texts = [*texts[:caret_row], row.text[:caret]]
    elif caret_row == len(inside) - 1 and not row.text[caret:].strip():
        texts[caret_row] = row.text[:caret]  # the blank under the caret is not typed
    return "\n".join(text[len(_INDENT) :] for text in texts)


def _ghost_begins_at(row: Row, caret: int) -> bool:
    """The first ghost character stands under the caret, not dim; the words behind it are dim, their blanks not."""
    behind = row.text[caret + 1 :]
    first_word = caret + 1 + len(behind) - len(behind.lstrip())
    return bool(behind.strip()) and row.is_dim_at(first_word)


def _is_busy(box: _Box) -> bool:
    spins = any(_SPINNER.fullmatch(row.text) for row in box.above)
    return spins or any(_BUSY_HINT.search(row.text) for row in box.below)


def _without_composer(rows: list[Row]) -> Screen:
    last = [row.text for row in rows if not row.blank][-_LAST_ROWS:]
    dialog = any(_OPTION.match(text) for text in last) or any(_DIALOG_HINT.search(text) for text in last[-2:])
    shown = "\n".join(row.text for row in rows)
    trouble = next((words for sign, words in _TROUBLES if sign in shown), "")
    return Screen(composer=Composer.ABSENT, dialog=Dialog() if dialog else None, trouble=trouble)
