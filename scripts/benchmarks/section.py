"""What one part of the bench has found: a table, the samples behind it, and what bounds the figures.

A part measures and returns a ``Section``; ``page`` keeps it as JSON and makes the page from all that are kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars in groups: one group a label, one bar a series; ``series`` holds as many values as there are labels."""

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
    """``name`` is what ``scripts/bench`` takes."""

    name: str
    title: str
    measure: Callable[[Bench], Awaitable[Section]]


def of_figures(figures: Sequence[Figure], words: str = "") -> Section:
    """Percentiles of each figure, and its ratio to its floor where it has one."""
    samples = {figure.what: figure.samples for figure in figures}
    samples |= {f"{figure.what} (floor)": figure.floor for figure in figures if figure.floor}
    columns = ("what", "p50", "p95", "floor p50", "ratio", "aim")
    return Section(columns=columns, rows=[_row(figure) for figure in figures], words=words, samples=samples)


def _row(figure: Figure) -> tuple[str, ...]:
    floor = f"{Figure(what='', aim='', samples=figure.floor).p50:.0f} ms" if figure.floor else ""
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
    digits = 1 if figure.p50 < 20 else 0
    return (figure.what, f"{figure.p50:.{digits}f} ms", f"{figure.p95:.{digits}f} ms", floor, ratio, figure.aim)
