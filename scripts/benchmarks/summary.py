"""The page that a person reads: ten rows and a plot from the stored results; ``page`` writes it.

A row says what Phalanx needs, what the least is that works (the floor: Claude Code or Ray alone, in the same run), what
the nearest of the tools needs that a user would take instead, and the aim. What was not measured says so.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks.section import Plot

_NOT_MEASURED = "not measured"
_OURS = ("Phalanx", "floor", "claude TEXT")
"""Columns of the peers' table that are no tools of others."""


@dataclass(frozen=True, slots=True)
class Results:
    """The stored results of the parts, by their names."""

    directory: Path

    def samples(self, part: str, begins: str, *, floor: bool = False) -> Sequence[float]:
        """All samples of the part whose names begin so; none when it was not measured."""
        path = self.directory / f"{part}.json"
        if not path.exists():
            return ()
        stored: Mapping[str, Sequence[float]] = json.loads(path.read_text())["samples"]
        fitting = (name for name in stored if name.startswith(begins) and ("(floor)" in name) == floor)
        return [sample for name in fitting for sample in stored[name]]

    def peers(self) -> Mapping[str, Any]:
        path = self.directory / "peers.json"
        found: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    what: str
    ours: str
    floor: str = ""
    other: str = ""
    """The best of the others, with its name."""
    aim: str


def rows(results: Results) -> list[Row]:
    def of(part: str, begins: str, unit: str, *, pick: Callable[[Sequence[float]], float] = statistics.median) -> str:
        values = results.samples(part, begins)
        return _shown(pick(values), unit) if values else _NOT_MEASURED

    def floor(part: str, begins: str, unit: str) -> str:
        values = results.samples(part, begins, floor=True)
        return _shown(statistics.median(values), unit) if values else _NOT_MEASURED

    spawn, idle = "spawn of one Claude", "message to an idle Claude, call to proof, not"
    return [
        Row(
            what="one Claude, from the call until its first message is proved",
            ours=of("lead", spawn, "ms"),
            floor=floor("lead", spawn, "ms"),
            other=_best(results, "spawn"),
            aim="≤ 1.25 floors",
        ),
        Row(
            what="the same from the pool",
            ours=of("pool", "one spawn", "ms"),
            floor=floor("pool", "one spawn", "ms"),
            aim="≤ 120 ms",
        ),
        Row(
            what="ten Claudes at once, until each has its first message",
            ours=of("claude", "10 in a batch, s", "s"),
            floor=floor("claude", "10 in a batch (floor), s", "s"),
            other=_best(results, "ten"),
            aim="≤ 1.05 floors",
        ),
        Row(
            what="a message to an idle Claude, call to proof",
            ours=of("lead", idle, "ms"),
            floor=floor("lead", idle, "ms"),
            other=_best(results, "idle"),
            aim="≤ 70 ms",
        ),
        Row(
            what="50 agents that need 3 s each; the guide: 25 s",
            ours=of("spawns", "batch with the cap raised", "s", pick=lambda values: values[-1]),
            aim="≤ 15 s",
        ),
        Row(
            what="100 mixed operations of git; floor: GitPython, one by one",
            ours=of("git", "100 mixed, batch", "ms"),
            floor=of("git", "100 mixed, one by one", "ms"),
            aim="80 % less",
        ),
        Row(
            what="whatever is killed, until a waiting call is answered",
            ours=of("recovery", "answered", "s"),
            aim="≤ 4 s",
        ),
        Row(
            what="a lost host's instances at work elsewhere",
            ours=of("cluster", "away", "s", pick=max),
            aim="≤ 60 s",
        ),
        Row(
            what="`phalanx send` to an idle Claude, to proof",
            ours=of("commands", "`phalanx send --wait` to an idle Claude", "ms"),
            aim="≤ 300 ms",
        ),
        Row(
            what="an event on the page of a hundred, after it happened",
            ours=of("dashboard", "an event", "ms"),
            aim="≤ 200 ms",
        ),
    ]


def table(found: Sequence[Row]) -> list[str]:
    head = ("what, as median", "Phalanx", "floor", "best of the others", "aim")
    cells = [(row.what, row.ours, row.floor, row.other, row.aim) for row in found]
    return [f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *cells)]


def plot(results: Results) -> Plot | None:
    """How long each tool takes to give an idle Claude a message; None when the others were not measured."""
    scores = {name: _score(peer, "idle") for name, peer in results.peers().items()}
    known = {name: score for name, score in scores.items() if score is not None}
    if "Phalanx" not in known:
        return None
    ordered = sorted(known, key=lambda name: known[name])
    times = {"median": [known[name] for name in ordered]}
    return Plot(title="A message to an idle Claude", unit="s", labels=ordered, series=times)


def _best(results: Results, row: str) -> str:
    scores = {name: _score(peer, row) for name, peer in results.peers().items() if name not in _OURS}
    known = {name: score for name, score in scores.items() if score is not None}
    if not known:
        return _NOT_MEASURED
    best = min(known, key=lambda name: known[name])
    return f"{_shown(known[best], 's')} ({best})"


def _score(peer: Mapping[str, Any], row: str) -> float | None:
    score = peer["rows"].get(row, {}).get("score")
    return None if score is None else float(score)


def _shown(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}" if value >= 20 else f"{value:.2g} {unit}"
