"""Draws the plots of the page as SVG."""

from __future__ import annotations

import math
from pathlib import Path

import pygal
from pygal.style import Style

from scripts.benchmarks.section import Plot

_LONGEST_LEVEL_LABEL = 14
_STYLE = Style(
    background="white",
    plot_background="white",
    colors=("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#9c6b4e"),
    font_family="sans-serif",
)


def draw(plot: Plot, path: Path) -> None:
    """Draws vertical bars, or horizontal ones when the labels are long."""
    lies = max(map(len, plot.labels)) > _LONGEST_LEVEL_LABEL
    lowest, highest = _bounds(plot)
    chart = (pygal.HorizontalBar if lies else pygal.Bar)(
        style=_STYLE,
        title=f"{plot.title} ({plot.unit})",
        # pygal draws the first horizontal bar at the bottom.
        x_labels=list(reversed(plot.labels) if lies else plot.labels),
        logarithmic=plot.logarithmic,
        range=(lowest, highest),
        zero=lowest,
        y_labels=_powers(lowest, highest) if plot.logarithmic else None,
        truncate_label=-1,
        print_values=True,
        value_formatter=lambda value: f"{value:.3g}",
        legend_at_bottom=True,
        js=(),
        disable_xml_declaration=True,
        width=760,
        height=120 + 50 * len(plot.labels) if lies else 380,
    )
    for name, values in plot.series.items():
        chart.add(name, list(reversed(values) if lies else values))
    path.write_text(chart.render(is_unicode=True))


def _bounds(plot: Plot) -> tuple[float, float]:
    """The bounds of the axis. A logarithmic one begins below the smallest value, which would have no bar otherwise."""
    values = [value for series in plot.series.values() for value in series]
    return (min(values) / 2 if plot.logarithmic else 0.0), max(values) * 1.2


def _powers(lowest: float, highest: float) -> list[float]:
    return [10.0**power for power in range(math.ceil(math.log10(lowest)), math.floor(math.log10(highest)) + 1)]
