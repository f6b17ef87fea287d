"""Computes the tables of docs/scale.md from the stored results: the cost of teams of different sizes, and their limits.

``page`` calls it. It measures nothing; a value that no part measures is a constant here, with its source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

SCALE = Path("docs/scale.md")
_BEGIN, _END = "<!-- made by scripts/bench -->\n", "<!-- end -->\n"
_SIZES = (100, 1_000, 10_000)
_CLAUDE_MB, _CLAUDE_CPU_PERCENT = 137.0, 0.9
"""Of an idle Claude Code 2.1.197 itself, measured once by hand: proportional memory, part of a core."""
_CARRY_MS = 5.0
"""CPU of the two git processes that take work in at home, measured once by hand."""
_CHANGES_A_MINUTE, _CARRIES_A_MINUTE = 3, 1
"""Assumptions on a working instance; the last is the default of ``PHALANX_SAVE_INTERVAL_S``."""
_MESSAGE_TEAM, _THOUSAND = 50, 1000
"""Instances in the bench's table of messages, and in its team over three hosts."""
_HOST_SLOTS = 126
"""Of a host of 64 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A resource that a team has once, however many hosts it has. ``ms``: its time in a second for one instance."""

    name: str
    unit: str
    ms: float
    then: str

    @property
    def full_at(self) -> int:
        """The number of instances that use all of its time."""
        return int(1000 / self.ms)


def filled_in(page: str, kept: Path) -> str:
    """The page with new tables; unchanged while a needed part has not been measured."""
    parts = [kept / f"{name}.json" for name in ("idle", "messages", "store", "thousand")]
    if not all(part.exists() for part in parts):
        return page
    idle, messages, store, thousand = (json.loads(part.read_text())["samples"] for part in parts)
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    loads = sorted(_loads(messages, store, thousand), key=lambda load: load.full_at)
    made = [*_table(_of_hosts(idle, store)), "", *_table(_of_one_place(loads)), "", *_in_words(loads)]
    return f"{before}{_BEGIN}" + "\n".join(made) + f"\n{_END}{after}"


def _loads(
    messages: Mapping[str, Sequence[float]],
    store: Mapping[str, Sequence[float]],
    thousand: Mapping[str, Sequence[float]],
) -> list[Load]:
    resting = messages["CPU idle, ms a second: ray, supervisor, host, instances"]
    listening_ms, working_ms = (
        median(thousand[f"CPU of the supervisor at {when} (%)"]) * 10 / _THOUSAND for when in ("rest", "work")
    )
    ray_ms = resting[0] / _MESSAGE_TEAM
    save_ms = median(store["SQLite, save 1 record, 1,000 instances"])
    return [
        Load(
            name="supervisor, CPU",
            unit=f"{working_ms:.2f} ms/s for one at work, {listening_ms:.3f} of it while it rests",
            ms=working_ms,
            then="several teams, which one lead can lead side by side",
        ),
        Load(
            name="store, saves one after another",
            unit=f"{save_ms:.2f} ms a save",
            ms=save_ms * _CHANGES_A_MINUTE / 60,
            then="gather the changes of all instances in one turn of the event loop into one transaction",
        ),
        Load(
            name="Ray's own processes, CPU, if all of it grew with the actors",
            unit=f"{ray_ms:.2f} ms/s at most",
            ms=ray_ms,
            then="several teams, each with a cluster of its own: its control store knows every actor",
        ),
        Load(
            name="work carried home, CPU of a core of the head",
            unit=f"{_CARRY_MS:.0f} ms a time",
            ms=_CARRY_MS * _CARRIES_A_MINUTE / 60,
            then="more cores, a longer `PHALANX_SAVE_INTERVAL_S`, or carry only when something was written",
        ),
    ]


def _of_hosts(idle: Mapping[str, Sequence[float]], store: Mapping[str, Sequence[float]]) -> list[Sequence[str]]:
    actor_mb = median(idle["memory of instances, MB"])
    actor_percent = median(idle["CPU of instances, % of a core"])
    memory_gb = [(actor_mb + _CLAUDE_MB) * size / 1000 for size in _SIZES]
    cores = [(actor_percent + _CLAUDE_CPU_PERCENT) / 100 * size for size in _SIZES]
    opening = [median(store[f"SQLite, open, and load everything, {size:,} instances"]) for size in _SIZES]
    return [
        ("on all hosts together", "one", *(f"{size:,}" for size in _SIZES)),
        (
            "memory of an idle Claude Code and its actor",
            f"{_CLAUDE_MB:.0f} + {actor_mb:.0f} MB",
            *(f"{each:,.0f} GB" for each in memory_gb),
        ),
        (
            "CPU of an idle Claude Code and its actor",
            f"{_CLAUDE_CPU_PERCENT:.1f} + {actor_percent:.2f} % of a core",
            *(f"{each:,.1f} cores" for each in cores),
        ),
        (
            f"hosts of 64 GB ({_HOST_SLOTS} slots of 512 MB)",
            "",
            *(f"{-(-size // _HOST_SLOTS):,}" for size in _SIZES),
        ),
        ("opening the state on the head", "", *(f"{each / 1000:.2f} s" for each in opening)),
    ]


def _of_one_place(loads: Sequence[Load]) -> list[Sequence[str]]:
    rows = [
        (load.name, load.unit, *(f"{load.ms * size / 10:.1f} %" for size in _SIZES), f"{_round(load.full_at):,}")
        for load in loads
    ]
    return [("in one place", "one", *(f"{size:,}" for size in _SIZES), "full at"), *rows]


def _in_words(loads: Sequence[Load]) -> list[str]:
    numbers = ("first", "second", "third", "fourth")
    return [
        f"- The **{number} limit**, at {_round(load.full_at):,} instances: {load.name}. Then: {load.then}."
        for number, load in zip(numbers, loads, strict=True)
    ]


def _round(count: int) -> int:
    """To two digits, which is all the precision there is."""
    step: int = 10 ** max(len(str(count)) - 2, 0)
    return count // step * step


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
