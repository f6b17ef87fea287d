"""Draws the plots of the page as SVG."""

from __future__ import annotations

from pathlib import Path

import pygal
from pygal.style import Style

from scripts.benchmarks.section import Plot

_STYLE = Style(
    background="white",
    plot_background="white",
    colors=("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#9c6b4e"),
    font_family="sans-serif",
)


def draw(plot: Plot, path: Path) -> None:
    chart = pygal.Bar(
        style=_STYLE,
        title=plot.title,
        y_title=plot.unit,
        x_labels=list(plot.labels),
        logarithmic=plot.logarithmic,
        print_values=True,
        value_formatter=lambda value: f"{value:.3g}",
        legend_at_bottom=True,
        js=(),
        disable_xml_declaration=True,
        width=760,
        height=380,
    )
    for name, values in plot.series.items():
        chart.add(name, list(values))
    path.write_text(chart.render(is_unicode=True) + "\n")
