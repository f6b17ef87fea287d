"""What the rounds say in figures: what was killed how often, and how long recovery took; pure.

Two times are taken for each kill, both from the kill on: until ``list`` answers again after the last silence that began
before the next kill, and until every message that had been accepted before stands in its agent's log. The next kills do
not wait for either, so a time may span several.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Fate, Killed, Probe
from tests.chaos.plan import Target


@dataclass(slots=True)
class Row:
    """One line of the table. Times in s; ``while_typing``: how many of the kills met a delivery under way."""

    target: Target
    kills: int = 0
    while_typing: int = 0
    undelivered: int = 0
    """Messages that were accepted and not yet delivered at these kills, together."""
    list_s: list[float] = field(default_factory=list)
    delivered_s: list[float] = field(default_factory=list)

    def take(self, other: Row) -> None:
        self.kills += other.kills
        self.while_typing += other.while_typing
        self.undelivered += other.undelivered
        self.list_s += other.list_s
        self.delivered_s += other.delivered_s


def rows_of(
    kills: Iterable[Killed], probes: Sequence[Probe], fates: Iterable[Fate], arrivals: Iterable[Arrival]
) -> dict[Target, Row]:
    arrived_at = {each.message_id: each.at for each in arrivals}
    accepted = [(fate.accepted_at, arrived_at[fate.message_id]) for fate in fates if fate.message_id in arrived_at]
    rows = {target: Row(target) for target in Target}
    found = [kill for kill in kills if kill.found]
    for at, kill in enumerate(found, 1):
        end = found[at].at if at < len(found) else math.inf
        row = rows[kill.target]
        row.kills += 1
        row.while_typing += bool(kill.being_typed)
        row.undelivered += kill.undelivered
        row.list_s += _until_listed(kill, end, probes)
        open_then = [arrived - kill.at for at, arrived in accepted if at <= kill.at < arrived]
        row.delivered_s += [max(open_then)] if open_then else []
    return rows


def _until_listed(kill: Killed, end: float, probes: Sequence[Probe]) -> list[float]:
    """From the kill to the end of the silence that began before ``end``: some die a moment after what they need.

    One time, or none when nothing answered any more.
    """
    silent = [probe.asked_at for probe in probes if not probe.answered and kill.at <= probe.asked_at < end]
    over = max([kill.at, *silent])
    return [probe.answered_at - kill.at for probe in probes if probe.answered and probe.asked_at >= over][:1]


def table(rows: Iterable[Row]) -> list[str]:
    """Markdown, one line a target that was killed."""
    lines = [
        "| killed | times | of these while a message was typed | accepted, not delivered then "
        "| `list` answers again, p50 / max | all delivered, p50 / max |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.target} | {row.kills} | {row.while_typing} | {row.undelivered} "
        f"| {_spread(row.list_s)} | {_spread(row.delivered_s)} |"
        for row in rows
        if row.kills
    ]
    return lines


def _spread(times_s: Sequence[float]) -> str:
    return f"{statistics.median(times_s):.1f} s / {max(times_s):.1f} s" if times_s else "–"
