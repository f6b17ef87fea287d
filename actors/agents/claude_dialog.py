"""What a dialog, menu or view of Claude Code asks and offers, and which one it is; pure.

Used by ``claude_screen`` where no input box can be used. A dialog stands below a rule at the left edge, its title in
the row below the rule, its options as rows of which one has a pointer, its keys in its last rows. Full views have no
rule, only keys. What cannot be told stays empty: nobody decides by it alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.agents.base import Dialog
from actors.agents.styled import Row
from actors.terminal.pane import Key

POINTER = "\u276f"
SUSPENDED = re.compile(r"Claude Code (?:is|has been) suspended\.")
"""How the row begins that says it."""
_RULE = re.compile(r"(?:─{3,}|▔{3,})\s*")
_MENU_RULE = "▔"
"""Newer versions draw it above what a command of the user has opened, and nowhere else."""
_FRAME = re.compile(r"[\s─▔╌━═│╭╮╰╯]*")
_NUMBERED = re.compile(rf"(?P<lead>\s*(?:{POINTER} )?\s*)(?P<number>\d{{1,2}})\. {{1,3}}(?P<label>\S.*)")
_POINTED = re.compile(rf"(?P<lead>\s*{POINTER} +)(?P<label>\S.*)")
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
_LAST_ROWS = 20
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
_TAKEN_BY_KEYS = frozenset({"auto mode"})
"""Dialogs without a pointer: their last rows name a key for each answer."""


@dataclass(frozen=True, slots=True)
class _Option:
    """``row`` is the index of its first row. ``number`` is 0 for options without numbers."""

    row: int
    column: int
    number: int
    label: str
    pointed: bool


def begin_of_dialog(rows: Sequence[Row]) -> int | None:
    """Index of the rule above the last dialog; None without one. A rule between options does not begin a dialog."""
    for index in range(len(rows) - 1, -1, -1):
        if _RULE.fullmatch(rows[index].text):
            below = next((row.text for row in rows[index + 1 :] if not row.blank), "")
            if below and not _NUMBERED.fullmatch(below.rstrip()):
                return index
    return None


def read_dialog(rows: Sequence[Row]) -> Dialog | None:
    """The dialog at the bottom of a screen that shows no usable input box; None when nothing looks like one."""
    begin = begin_of_dialog(rows)
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
    keyed = list(_KEYED.finditer(" ".join(hints.split()))) if kind in _TAKEN_BY_KEYS and not options else []
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
    first = max(0, len(region) - 3 * _LAST_ROWS)
    numbered = _numbered(region, first)
    if any(option.pointed for option in numbered):
        return numbered
    return _unnumbered(region, first) or numbered


def _numbered(region: Sequence[Row], first: int) -> list[_Option]:
    """The last list of options with numbers in one column, each one more than the one before; the one with the pointer
    where there are several."""
    lists: list[list[_Option]] = []
    for index in range(first, len(region)):
        found = _NUMBERED.fullmatch(region[index].text.rstrip())
        if not found:
            continue
        option = _Option(
            index,
            len(found["lead"]),
            int(found["number"]),
            _whole_label(region, index, found.start("label")),
            POINTER in found["lead"],
        )
        last = lists[-1][-1] if lists else None
        if last and option.number == last.number + 1 and option.column == last.column:
            lists[-1].append(option)
        else:
            lists.append([option])
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


def _unnumbered(region: Sequence[Row], first: int) -> list[_Option]:
    """The rows around the pointer that begin in the column of its row's words."""
    for index in range(len(region) - 1, first - 1, -1):
        found = _POINTED.fullmatch(region[index].text.rstrip())
        if found:
            column = found.start("label")
            above = _neighbours(region, range(index - 1, first - 1, -1), column)[::-1]
            below = _neighbours(region, range(index + 1, len(region)), column)
            mine = _Option(index, column, 0, _words(found["label"]), pointed=True)
            return [*above, mine, *below]
    return []


def _words(text: str) -> str:
    """Without frames and what is shown within them beside the row's own words."""
    return " ".join(_PREVIEW.sub("", text).split()).strip("│ ")


def _neighbours(region: Sequence[Row], indexes: range, column: int) -> list[_Option]:
    found: list[_Option] = []
    for index in indexes:
        text = region[index].text
        if len(text) - len(text.lstrip()) != column or not text.strip() or _MORE.match(text.strip()):
            break
        found.append(_Option(index, column, 0, _words(text), pointed=False))
    return found
