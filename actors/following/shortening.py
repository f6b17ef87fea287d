"""Shortens what a lead reads: tools print and take far more than whoever leads needs to pay for; pure.

Nothing is lost: what was cut is counted, and each entry can be read in whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actors.agents.base import Entry, EntryKind

LONGEST_SPOKEN = 20_000
"""Most characters shown of a question or an answer."""
LONGEST_OTHER = 2_000
"""Most characters shown of anything else, and of a tool's input."""
_SPOKEN = frozenset({EntryKind.QUESTION, EntryKind.ANSWER})


def shortened(entry: Entry) -> tuple[Entry, int]:
    """The entry as it is shown, and how many characters of its text and input are left out."""
    longest = LONGEST_SPOKEN if entry.kind in _SPOKEN else LONGEST_OTHER
    left_out = max(0, len(entry.text) - longest)
    budget = _Budget(LONGEST_OTHER)
    tool_input = budget.within(entry.tool_input)
    if not left_out and not budget.left_out:
        return entry, 0
    return replace(entry, text=entry.text[:longest], tool_input=tool_input), left_out + budget.left_out


def size_of(entry: Entry) -> int:
    """About how many characters it takes to show it."""
    return len(entry.text) + (len(json.dumps(entry.tool_input, ensure_ascii=False)) if entry.tool_input else 0)


class _Budget:
    """Keeps the form of a JSON value, so that names and short values still tell what it is about."""

    def __init__(self, characters: int) -> None:
        self._rest = characters
        self.left_out = 0

    def within(self, value: Any) -> Any:
        if isinstance(value, str):
            kept = value[: self._rest]
            self.left_out += len(value) - len(kept)
            self._rest -= len(kept)
            return kept
        if isinstance(value, Mapping):
            return {name: self.within(inner) for name, inner in value.items() if self._takes(f"{name}", inner)}
        if isinstance(value, list | tuple):
            return [self.within(inner) for inner in value if self._takes("", inner)]
        return value

    def _takes(self, name: str, value: Any) -> bool:
        """Whether there is room for its name, and for itself where it cannot be shortened."""
        shortens = isinstance(value, str | Mapping | list | tuple)
        needed = len(name) + (0 if shortens else len(str(value)))
        if needed <= self._rest and self._rest > 0:
            self._rest -= needed
            return True
        self._rest = 0
        self.left_out += len(name) + len(json.dumps(value, ensure_ascii=False))
        return False
