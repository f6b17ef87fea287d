"""What one capture of Claude Code's pane shows: input box, dialog, menu or view; pure.

``ClaudeRecords`` calls ``read_screen``; a capture that is not understood reads as ABSENT. Below it, ``find_box`` finds
the input box and ``read_dialog`` the dialog. ``scrubbed`` takes the words out of a capture, so that it can be kept or
shown as an example.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.styled import ESCAPE, Cursor, Row, Style, cells_of, read_capture
from actors.tmux.pane import Key

_POINTER = "\u276f"
_SUSPENDED = re.compile(r"Claude Code (?:is|has been) suspended\.")
"""How the row begins that says it."""
_RULE = re.compile(r"(?:─{3,}|▔{3,})\s*")
_MENU_RULE = "▔"
"""Newer versions draw it above what a command of the user has opened, and nowhere else."""
_FRAME = re.compile(r"[\s─▔╌━═│╭╮╰╯]*")
_NUMBERED = re.compile(rf"(?P<lead>\s*(?:{_POINTER} )?\s*)(?P<number>\d{{1,2}})\. {{1,3}}(?P<label>\S.*)")
_POINTED = re.compile(rf"(?P<lead>\s*{_POINTER} +)(?P<label>\S.*)")
_BOX = re.compile(r"(?:\[.\]|[◻◼☐☑☒]) ")
"""Of an option that can be ticked: Enter does not take it alone."""
_MORE = re.compile(r"[↑↓] \d+ more.*")
_PREVIEW = re.compile(r"\s+[│╭╰].*")
_HINT = re.compile(
    r"\b(?:esc|enter|space)(?:/\S+)? to\s+\w+|↑/↓ to|\bPress Enter\b|Showing detailed transcript|^  search prompts:",
    re.IGNORECASE | re.MULTILINE,
)
_KEYED = re.compile(r"\b(?P<key>Enter|shift\+Tab) to (?P<label>[^·]+)", re.IGNORECASE)
_KEYS: Mapping[str, Key] = {"enter": "Enter", "shift+tab": "Shift-Tab"}
_HINT_ROWS = 3
_LONGEST_QUESTION = 40
_TITLES = (
    ("trust", r"Accessing workspace:"),
    ("api key", r"Detected a custom API key in your environment"),
    ("bypass warning", r"WARNING: Claude Code running in Bypass Permissions mode"),
    ("settings warning", r"Settings Warning|Settings Error|Configuration error"),
    ("mcp servers", r"New MCP server found in this project|\d+ new MCP servers found"),
    ("external imports", r"Allow external CLAUDE\.md file imports\?"),
    ("auto mode", r"Auto mode can't check actions in this session"),
    ("make auto default", r"Make auto mode your default permission mode\?"),
    ("managed settings", r"Managed settings require approval"),
    ("plan", r"Ready to code\?|Exit plan mode\?|Enter plan mode\?|Claude has written up a plan|Here is Claude's plan"),
    ("question", r"(?:← +)?[☐☒☑✔] |Review your answers"),
    ("model", r"Select model"),
    ("rewind", r"Rewind"),
    ("history search", r"Search prompts"),
    ("resume", r"Resume session|Resume this conversation\?"),
    ("cost", r"You've spent an estimated \$"),
    ("usage limit", r"What do you want to do\?"),
    ("settings", r"(?:Settings +)?Status +Config"),
    ("help", r"Help +General|Claude Code v\S+ +general"),
    ("permission rules", r"Permissions +Recently|Permissions:? +Allow"),
    ("mcp", r"Manage MCP servers|MCP servers"),
    ("background", r"Background this session\?"),
    ("menu", r"(?:Agents|Plugins|Sandbox) {2,}|(?:Background|Effort|Export Conversation|Hooks|Memory|Skills)\Z"),
    ("menu", r"Add directory to workspace"),
)
"""By the beginning of the title row."""
_QUESTIONS = (
    ("login", r"Select login method:"),
    ("theme", r"Choose the text style|Choose a text style"),
    ("onboarding", r"Security notes:"),
    ("api key", r"Do you want to use this API key\?"),
    ("plan", r".*Would you like to proceed\?"),
    ("permission", r"Do you want to .*\?|Claude wants to .*"),
)
"""By the beginning of any row above the options."""
_HINTS = (
    ("history search", r"^  search prompts:"),
    ("transcript view", r"Showing detailed transcript"),
    ("agents view", r"space to reply"),
    ("question", r"Enter to select · Tab/Arrow keys to navigate"),
    ("permission", r"Esc to cancel · Tab to amend"),
)
"""By what the last rows hold."""
_TAKEN_BY_KEYS = "auto mode"
"""The dialog without a pointer: its last rows name a key for each answer."""

_UPPER_RULE = re.compile(r"─{3,}(?:.*─+)?\s*")
_LOWER_RULE = re.compile(r"─{3,}(?: ↓ \d+ more ─+)?\s*")
_SCROLLED_RULE = re.compile(r"─+ ↑ \d+ more ─+\s*")
_PROMPT = f"{_POINTER}\xa0"
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
_MENU_ENTRY_ABOVE = re.compile(rf"  [ {_POINTER}] [/+*] ?\S.*")

_SHOWN_ROWS = 12
_SHOWN_WIDTH = 160
_NOT_LOGGED_IN = re.compile(r"  (?:\S.*  | {20,})Not logged in · Run /login\s*")
"""At the right end of the row of hints; what a status line says begins at the left."""
_TROUBLES = {
    "trust": "Claude Code asks whether to trust the working directory",
    "api key": "Claude Code asks whether to use the API key of the environment",
    "bypass warning": "Claude Code asks to confirm the mode bypassPermissions",
    "login": "Claude Code is not logged in: run claude once and log in",
    "theme": "Claude Code was never set up for this user: run claude once and answer its questions",
    "onboarding": "Claude Code was never set up for this user: run claude once and answer its questions",
    "settings warning": "Claude Code warns of its settings",
    "mcp servers": "Claude Code asks whether to use the MCP servers of the project's .mcp.json",
    "external imports": "Claude Code asks whether CLAUDE.md may import files from outside of the working directory",
    "make auto default": "Claude Code asks whether to make auto its default permission mode",
    "managed settings": "Claude Code asks to approve the settings that its administrator manages",
    "auto mode": "Claude Code asks how to go on in mode auto, whose safety check is not available",
}
"""By the kind of a dialog that stands in the way of a start."""
_SUSPENDED_WORDS = (
    "Claude Code reads no keys. If it was suspended (Ctrl-Z), it goes on when its process is sent SIGCONT."
)
_UNKNOWN_HOOK = "Unknown hook event"
_TOO_OLD = "This Claude Code is too old for Phalanx: its settings dialog names hooks it does not know"
_NO_CONNECTION = "Unable to connect to Anthropic services"
_TROUBLE_NO_CONNECTION = "Claude Code cannot reach Anthropic's services"

_LETTERS = {0: "", 1: "x", 2: "ｘ"}  # noqa: RUF001 - as wide as what it stands for


def read_screen(styled: str) -> Screen:
    """See ``Agent.read_screen``."""
    rows, cursor = _rows_of(styled)
    if cursor is not None and cursor.row < 0:
        return _of_stopped_program(rows)
    box = None if cursor is None else find_box(rows, cursor)
    if box is None:
        dialog = read_dialog(rows)
        return Screen(composer=Composer.ABSENT, dialog=dialog, trouble=_trouble(rows, dialog), shown=_shown(rows))
    if box.bash_mode:
        dialog = Dialog(kind="bash mode", question="What is typed into the input box runs as a command of the shell.")
        return Screen(composer=Composer.ABSENT, dialog=dialog, busy=box.busy, shown=_shown(rows))
    typed = box.typed()
    return Screen(
        composer=Composer.DRAFT if typed or box.scrolled else Composer.EMPTY,
        draft=typed.rstrip("\n"),
        scrolled=box.scrolled,
        dialog=Dialog(kind="completion") if box.menu else None,
        busy=box.busy,
        trouble=_trouble_beside(box),
    )


def _rows_of(styled: str) -> tuple[list[Row], Cursor | None]:
    rows, cursor = read_capture(styled)
    while rows and rows[-1].blank:
        rows.pop()
    return rows, cursor


def _of_stopped_program(rows: list[Row]) -> Screen:
    """Claude Code has not begun, or was suspended: it may still draw its box, but nobody reads what is typed."""
    suspended = _drawn_box(rows) is not None or any(_SUSPENDED.match(row.text) for row in rows)
    dialog = Dialog(kind="suspended", question=_SUSPENDED_WORDS) if suspended else None
    return Screen(composer=Composer.ABSENT, dialog=dialog, shown=_shown(rows))


def _trouble_beside(box: InputBox) -> str:
    if box.retrying:
        return f"the API does not answer: Claude Code tries again (attempt {box.retrying})"
    return _TROUBLES["login"] if any(_NOT_LOGGED_IN.fullmatch(row.text) for row in box.below) else ""


def _trouble(rows: list[Row], dialog: Dialog | None) -> str:
    if dialog is None:
        return _TROUBLE_NO_CONNECTION if any(row.text.strip().startswith(_NO_CONNECTION) for row in rows) else ""
    if dialog.kind == "settings warning" and _UNKNOWN_HOOK in dialog.question:
        return _TOO_OLD
    return _TROUBLES.get(dialog.kind, "")


def _shown(rows: list[Row]) -> str:
    """The last rows in words; a rule or frame says nothing."""
    words = [" ".join(row.text.split())[:_SHOWN_WIDTH] for row in rows if any(map(str.isalnum, row.text))]
    return "\n".join(words[-_SHOWN_ROWS:])


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


def find_box(rows: list[Row], cursor: Cursor) -> InputBox | None:
    """The input box that takes what is typed; None when there is none, or when the keys go elsewhere.

    Typing into the wrong thing runs commands or answers dialogs, so a box needs positive evidence: two rules of the
    same width, between them at the left edge the pointer and a no-break space, and the cursor inside. Claude Code
    always keeps the terminal's cursor where the next character would go, even while it draws no caret because its
    terminal has lost the focus. No text of a conversation, question or status line moves the cursor.
    """
    drawn = _drawn_box(rows)
    if drawn is None:
        return None
    first, lower = drawn
    if not first <= cursor.row < lower or cursor.column < len(_INDENT):
        return None
    return InputBox(
        above=tuple(rows[: max(first - 1, 0)]),
        inside=tuple(rows[first:lower]),
        below=tuple(rows[lower + 1 :]),
        rule=rows[lower],
        caret=(cursor.row - first, rows[cursor.row].index_at(cursor.column)),
    )


def _drawn_box(rows: list[Row]) -> tuple[int, int] | None:
    """Index of the first row inside the lowest box, and of the rule below it."""
    lower = _last_match(rows, _LOWER_RULE, len(rows))
    if lower is None:
        return None
    upper = _last_match(rows, _UPPER_RULE, lower)
    first = 0 if upper is None else upper + 1
    is_box = first < lower and _is_bordered(None if upper is None else rows[upper], rows[first:lower], rows[lower])
    return (first, lower) if is_box else None


def _last_match(rows: list[Row], pattern: re.Pattern[str], before: int) -> int | None:
    return next((i for i in range(before - 1, -1, -1) if pattern.fullmatch(rows[i].text)), None)


def _is_bordered(upper: Row | None, inside: Sequence[Row], lower: Row) -> bool:
    """Whether the rows between the rules are a box: with its prompt, or with its beginning scrolled away."""
    if upper is not None and abs(_width(upper) - _width(lower)) > _WIDTHS_APART:
        return False
    if inside[0].text.startswith((_PROMPT, _BASH_PROMPT)):
        return _all_indented(inside[1:])
    return (upper is None or _SCROLLED_RULE.fullmatch(upper.text) is not None) and _all_indented(inside)


def _width(row: Row) -> int:
    return sum(map(cells_of, row.text.rstrip()))


def _all_indented(rows: Sequence[Row]) -> bool:
    return all(row.blank or row.text.startswith(_INDENT) for row in rows)


def _menu_length(below: tuple[Row, ...]) -> int:
    """How many rows directly below the box belong to a completion menu, which begins at the left edge."""
    if not below or below[0].blank or below[0].text.startswith(_INDENT):
        return 0
    return next((i for i, row in enumerate(below) if row.blank), len(below))


def _ghost_begins_at(row: Row, caret: int) -> bool:
    """The first ghost character stands under the caret, not dim; the words behind it are dim, their blanks not."""
    behind = row.text[caret + 1 :]
    first_word = caret + 1 + len(behind) - len(behind.lstrip())
    return bool(behind.strip()) and row.style_at(first_word).dim


class _Option(NamedTuple):
    row: int
    """Index of its first row."""
    label: str
    pointed: bool


def _begin_of_dialog(rows: Sequence[Row]) -> int | None:
    """Index of the rule above the last dialog; None without one. A rule between options does not begin a dialog."""
    for index in range(len(rows) - 1, -1, -1):
        if _RULE.fullmatch(rows[index].text):
            below = next((row.text for row in rows[index + 1 :] if not row.blank), "")
            if below and not _NUMBERED.fullmatch(below.rstrip()):
                return index
    return None


def read_dialog(rows: Sequence[Row]) -> Dialog | None:
    """The dialog at the bottom of a screen that shows no usable input box; None when nothing looks like one.

    A dialog stands below a rule at the left edge: its title in the row below the rule, its options as rows of which one
    has a pointer, its keys in its last rows. Full views have no rule, only keys. What cannot be told stays empty, so no
    decision rests on it alone.
    """
    begin = _begin_of_dialog(rows)
    region = list(rows[0 if begin is None else begin + 1 :])
    options = _options(region)
    filled = [row.text.rstrip() for row in region if not _FRAME.fullmatch(row.text)]
    hints = "\n".join(filled[-_HINT_ROWS:])
    title = filled[0].strip() if begin is not None and filled else ""
    opened = begin is not None and rows[begin].text.startswith(_MENU_RULE)
    known = opened or any(re.match(sign, title) for _, sign in _TITLES)
    if not known and not _HINT.search(hints) and not any(option.pointed for option in options):
        return None
    above = region[: options[0].row] if options else region
    question = [words for words in (_words(row.text) for row in above if not _FRAME.fullmatch(row.text)) if words]
    kind = _kind(title, question, hints) or ("menu" if opened else "")
    keyed = list(_KEYED.finditer(" ".join(hints.split()))) if kind == _TAKEN_BY_KEYS and not options else []
    return Dialog(
        kind=kind,
        question="\n".join(question[-_LONGEST_QUESTION:]),
        options=tuple([option.label for option in options] or [found["label"].strip() for found in keyed]),
        chosen=next((i for i, option in enumerate(options) if option.pointed and not _BOX.match(option.label)), None),
        keys=tuple(_KEYS[found["key"].lower()] for found in keyed),
    )


def _kind(title: str, question: Sequence[str], hints: str) -> str:
    for kind, sign in _TITLES:
        if re.match(sign, title):
            return kind
    for kind, sign in _QUESTIONS:
        if any(re.match(sign, text) for text in question):
            return kind
    return next((kind for kind, sign in _HINTS if re.search(sign, hints, re.MULTILINE)), "")


def _options(region: Sequence[Row]) -> list[_Option]:
    numbered = _numbered(region)
    if any(option.pointed for option in numbered):
        return numbered
    return _unnumbered(region) or numbered


def _numbered(region: Sequence[Row]) -> list[_Option]:
    """The last list of options with numbers in one column, each one more than the one before; the one with the pointer
    where there are several."""
    lists: list[list[_Option]] = []
    before = (0, 0)
    for index, row in enumerate(region):
        found = _NUMBERED.fullmatch(row.text.rstrip())
        if not found:
            continue
        column, number = len(found["lead"]), int(found["number"])
        if not lists or before != (column, number - 1):
            lists.append([])
        before = (column, number)
        label = _whole_label(region, index, found.start("label"))
        lists[-1].append(_Option(index, label, _POINTER in found["lead"]))
    pointed = [found for found in lists if any(option.pointed for option in found)]
    return (pointed or lists or [[]])[-1]


def _whole_label(region: Sequence[Row], index: int, column: int) -> str:
    """The label with the rows on which it goes on: they begin where it begins, in its colour."""
    label = _words(region[index].text[column:])
    colour = region[index].style_at(column).colour
    for row in region[index + 1 :]:
        begins = len(row.text) - len(row.text.lstrip())
        if row.blank or begins != column or row.style_at(begins).colour != colour:
            break
        label = f"{label} {_words(row.text)}"
    return label


def _unnumbered(region: Sequence[Row]) -> list[_Option]:
    """The rows around the pointer that begin in the column of its row's words."""
    for index in range(len(region) - 1, -1, -1):
        found = _POINTED.fullmatch(region[index].text.rstrip())
        if found:
            column = found.start("label")
            above = _neighbours(region, range(index - 1, -1, -1), column)[::-1]
            below = _neighbours(region, range(index + 1, len(region)), column)
            return [*above, _Option(index, _words(found["label"]), True), *below]
    return []


def _neighbours(region: Sequence[Row], indexes: range, column: int) -> list[_Option]:
    found: list[_Option] = []
    for index in indexes:
        text = region[index].text
        if len(text) - len(text.lstrip()) != column or not text.strip() or _MORE.match(text.strip()):
            break
        found.append(_Option(index, _words(text), False))
    return found


def _words(text: str) -> str:
    """Without frames and what is shown within them beside the row's own words."""
    return " ".join(_PREVIEW.sub("", text).split()).strip("│ ")


def scrubbed(styled: str) -> str:
    """A capture that shows no input box, with every letter of the conversation as an x and every digit as a 0.

    What stands below the last rule stays, as do frames and styles, and every character keeps its width.
    """
    rows, _ = _rows_of(styled)
    begin = _begin_of_dialog(rows)
    kept = range(len(rows) if begin is None else begin, len(rows))
    return "\n".join(line if i in kept else _without_words(line) for i, line in enumerate(styled.split("\n")))


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
