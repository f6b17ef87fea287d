"""What stands in a row of the list, and which columns fit into a width. Pure; all texts in it are harmless.

Texts of agents go through ``one_line``, so a cell has one line in which nothing controls the terminal.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.status import Status
from mcp_entry.cli.output import one_line
from mcp_entry.cli.views import age
from mcp_entry.top.needs import QUESTION_TOOL, need_of
from mcp_entry.top.rows import NEEDING, TEAM, ListLine
from supervisor.api.results import InstanceInfo

MARK, NAME, ID, STATUS, FOR, DOING = "", "NAME", "ID", "STATUS", "FOR", "DOING"
UNREAD, CONTEXT, TOKENS, MODEL, TASK = "NEW", "CTX", "TOKENS", "MODEL", "TASK"
_LONGEST_CELL = 200
_STATUS_WORDS: Mapping[Status, str] = {
    Status.WAITING_PERMISSION: "asks",
    Status.WAITING_INPUT: "terminal",
    Status.RATE_LIMITED: "rate limit",
}
_STATUS_STYLES: Mapping[Status, str] = {
    Status.STARTING: "cyan",
    Status.READY: "green",
    Status.BUSY: "blue",
    Status.WAITING_PERMISSION: "bold yellow",
    Status.WAITING_INPUT: "bold yellow",
    Status.RATE_LIMITED: "yellow",
    Status.STOPPED: "dim",
    Status.FAILED: "bold red",
}


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    width: int
    """0: what the others leave."""
    from_width: int = 0
    """The list must be so wide for it."""
    right: bool = False


_COLUMNS = (
    Column(MARK, 2),
    Column(NAME, 22),
    Column(ID, 12, from_width=100),
    Column(STATUS, 10),
    Column(FOR, 4, right=True),
    Column(UNREAD, 3, from_width=90, right=True),
    Column(CONTEXT, 4, from_width=90, right=True),
    Column(TOKENS, 6, from_width=110, right=True),
    Column(MODEL, 16, from_width=130),
    Column(DOING, 0),
    Column(TASK, 0, from_width=150),
)


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """``cells`` by the titles of their columns. A heading has a ``heading`` instead."""

    key: tuple[str, str]
    cells: tuple[tuple[str, Cell], ...] = ()
    heading: str = ""

    @property
    def instance_id(self) -> str:
        return self.key[1]


def columns_in(width: int) -> Sequence[Column]:
    """The columns that fit, with their widths; between two of them is one blank."""
    shown = [each for each in _COLUMNS if each.from_width <= width]
    if width >= 140:
        shown = [Column(NAME, 30) if each.title == NAME else each for each in shown]
    taken = sum(each.width for each in shown) + len(shown) - 1
    open_ended = [each for each in shown if not each.width]
    left = max(width - taken, len(open_ended))
    widths = [left // len(open_ended) + (number < left % len(open_ended)) for number in range(len(open_ended))]
    found = dict(zip((each.title for each in open_ended), widths, strict=True))
    return [Column(each.title, found.get(each.title, each.width), right=each.right) for each in shown]


def heading_row(line: ListLine) -> Row:
    words = {NEEDING: "NEEDS YOU", TEAM: "TEAM"}.get(line.section, line.section.replace("_", " ").upper())
    return Row(line.key, heading=f"{words} {line.count}")


def age_of(each: InstanceInfo, now: datetime.datetime) -> str:
    """For how long it has had its status; empty: not known."""
    return age(each.since, now) if each.since else ""


def instance_row(line: ListLine, each: InstanceInfo, age_words: str, *, needs_attention: bool) -> Row:
    name = each.name or each.instance_id
    needs = line.section == NEEDING
    cells = {
        MARK: Cell("!", "bold yellow") if needs_attention else Cell(""),
        NAME: Cell("  " * line.depth + one_line(name, _LONGEST_CELL), "bold" if needs_attention else ""),
        ID: Cell(each.instance_id if each.name else "", "dim"),
        STATUS: _status(each),
        FOR: Cell(age_words, "dim"),
        UNREAD: Cell(str(each.unread or "")),
        CONTEXT: Cell(context_used(each)),
        TOKENS: Cell(short_number(each.tokens.input + each.tokens.output + each.tokens.cache_creation)),
        MODEL: Cell(one_line(each.model or "", _LONGEST_CELL).removeprefix("claude-"), "dim"),
        DOING: Cell(one_line(_need(each) if needs else each.activity or "", _LONGEST_CELL)),
        TASK: Cell(one_line(each.task or "", _LONGEST_CELL), "dim"),
    }
    return Row(line.key, tuple(cells.items()))


def _status(each: InstanceInfo) -> Cell:
    if each.permission is not None and each.permission.tool == QUESTION_TOOL:
        return Cell("question", _STATUS_STYLES[each.status])
    if each.dialog is not None:
        return Cell("dialog", _STATUS_STYLES[each.status])
    if each.held_messages and each.status is Status.READY:
        return Cell("held", "yellow")
    return Cell(_STATUS_WORDS.get(each.status, str(each.status)), _STATUS_STYLES[each.status])


def _need(each: InstanceInfo) -> str:
    """What it needs, on one line."""
    need = need_of(each, needs_attention=True)
    if need is None:
        return ""
    if need.questions:
        return need.questions[0].words
    if each.permission is not None:
        return f"{each.permission.tool}: {' '.join(value for _, value in need.parts)}"
    return need.reason or need.title


def context_used(each: InstanceInfo) -> str:
    """How full it is, or how much is in it where nobody knows what it holds; empty: not known."""
    if each.context_tokens is None:
        return ""
    if not each.context_window:
        return short_number(each.context_tokens)
    return f"{min(999, round(100 * each.context_tokens / each.context_window))}%"


def short_number(number: int) -> str:
    """At most five characters."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= limit:
            scaled = number / limit
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return str(number or "")
