"""The log of a bring-up: a line for each step and, after a failure, its reason. Pure; imports little.

``supervisor.runtime`` writes it; the entry reads the reason of a failure from it. Steps have a mark, which tells them
from other output of the process, for example a traceback.
"""

from __future__ import annotations

_MARK = "- "
_REASON_LINES = 12


def step_line(time_of_day: str, what: str) -> str:
    return f"{_MARK}{time_of_day} {what}"


def reason_in(text: str) -> str:
    """The last lines after the last step; empty when none follow."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    steps = [number for number, line in enumerate(lines) if line.startswith(_MARK)]
    reason = lines[steps[-1] + 1 :] if steps else lines
    return "\n".join(reason[-_REASON_LINES:])
