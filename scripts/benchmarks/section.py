"""The result of one part of the bench: a table, its samples, its plots, and a text on what bounds the figures.

A ``Part`` measures and returns a ``Section``; ``page`` stores it as JSON and makes the page from all stored ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.benchmarks.bench import Bench


def p95(samples: Sequence[float]) -> float:
    return sorted(samples)[int((len(samples) - 1) * 0.95)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the page. ``samples`` and ``floor`` are in ms; ``floor`` may be empty."""

    what: str
    aim: str
    samples: Sequence[float]
    floor: Sequence[float] = ()

    @property
    def p50(self) -> float:
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        return sorted(self.samples)[min(len(self.samples) - 1, int(len(self.samples) * 0.95))]

    @property
    def ratio(self) -> float | None:
        """Median of the ratios pair by pair, so that a drift of the machine's speed cancels out."""
        if not self.floor:
            return None
        return statistics.median(ours / bare for ours, bare in zip(self.samples, self.floor, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars in groups: one group for each label, one bar for each series, which has one value for each label."""

    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    logarithmic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """``words`` say what was measured and what bounds it, in Markdown; ``samples`` are in ms unless their name says."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    plots: Sequence[Plot] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``name`` is what ``scripts/bench`` takes, and the name of the file with its result."""

    name: str
    title: str
    measure: Callable[[Bench], Coroutine[Any, Any, Section]]
    page: str = "details"
    """The page of docs/performance/ that holds its section."""


def of_figures(figures: Sequence[Figure], words: str = "") -> Section:
    """A table with the percentiles of each figure, and its ratio to the floor when it has one."""
    samples = {figure.what: figure.samples for figure in figures}
    samples |= {f"{figure.what} (floor)": figure.floor for figure in figures if figure.floor}
    columns = ("what", "p50", "p95", "floor p50", "ratio", "aim")
    return Section(columns=columns, rows=[_row(figure) for figure in figures], words=words, samples=samples)


def _row(figure: Figure) -> tuple[str, ...]:
    floor = f"{Figure(what='', aim='', samples=figure.floor).p50:.0f} ms" if figure.floor else ""
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
    digits = 1 if figure.p50 < 20 else 0
    return (figure.what, f"{figure.p50:.{digits}f} ms", f"{figure.p95:.{digits}f} ms", floor, ratio, figure.aim)
