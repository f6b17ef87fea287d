"""What an instance shows and said, as lines of a given width for a terminal. Pure; all in it is harmless.

Of a screen only its colours and attributes (``ESC[…m``) are taken over; every other control character is shown as a
sign, as everywhere else. Nothing in a text is markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip

from mcp_entry.cli.output import one_line, visible
from supervisor.api.results import ConversationEntry

_STYLE_SEQUENCE = re.compile(r"(\x1b\[[0-9;:]{0,64}m)")
_LONGEST_TOOL_TEXT = 300
_MARKS = {"question": "> ", "answer": "● ", "tool_call": "⚒ ", "tool_result": "  ⎿ ", "notice": "· "}
_STYLES = {"question": "bold", "answer": "", "tool_call": "cyan", "tool_result": "dim", "notice": "dim"}
_LAYOUT = Console(width=80, color_system=None, legacy_windows=False, markup=False, highlight=False, emoji=False)


def screen_strips(lines: Sequence[str]) -> list[Strip]:
    """The rows of a screen; blank ones at its end are left out."""
    strips = [_strip_of(screen_text(line)) for line in lines]
    while strips and not strips[-1].text.strip():
        strips.pop()
    return strips


def screen_text(line: str) -> Text:
    parts = _STYLE_SEQUENCE.split(line)
    harmless = (
        part if number % 2 else visible(part).replace("\n", "␊").replace("\t", "␉") for number, part in enumerate(parts)
    )
    return Text.from_ansi("".join(harmless))


def conversation_strips(entries: Iterable[ConversationEntry], width: int) -> list[Strip]:
    return [strip for entry in entries for strip in wrapped(entry_text(entry), width)]


def entry_text(entry: ConversationEntry) -> Text:
    """One entry; tool calls and their results are short."""
    said = entry.text or (json.dumps(entry.input, ensure_ascii=False) if entry.input else "")
    if entry.kind in ("tool_call", "tool_result"):
        said = one_line(f"{entry.tool}: {said}" if entry.tool else said, _LONGEST_TOOL_TEXT)
    return Text(f"{_MARKS[entry.kind]}{visible(said).expandtabs(4)}", style=_STYLES[entry.kind])


def wrapped(text: Text, width: int) -> list[Strip]:
    """The text on lines of at most ``width`` cells."""
    return [_strip_of(line) for line in text.wrap(_LAYOUT, max(1, width), no_wrap=False, overflow="fold")]


def _strip_of(text: Text) -> Strip:
    segments = [Segment(each.text, each.style) for each in text.render(_LAYOUT) if each.text and each.text != "\n"]
    return Strip(segments, sum(cell_len(each.text) for each in segments))
