"""Stores the result of each part as JSON in docs/performance/, and makes docs/performance.md, and the pages beside it,
from all of them."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import timeit
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pygal
from pygal.style import Style

from scripts.benchmarks import scale, summary
from scripts.benchmarks.section import Part, Plot, Section

PAGE = Path("docs/performance.md")
KEPT = Path("docs/performance")
_HEAD = """# Performance

{machine}

{table}

*floor*: the fewest steps that work, in the same run: the bare Claude Code in tmux, the bare Ray, GitPython. The best of
the others is from [performance/peers.md](performance/peers.md), which also says where another is better, and why.
A run fails when a result is not proved at the receiver.

{plots}
- [All tables of `scripts/bench`](performance/details.md), and how each was measured. `scripts/bench` makes them anew
  with the figures of your machine. Times drift with what else a machine and, of a virtual one, its
  host does; ratios are taken within one run.
- [A team that leads itself](performance/leading.md): what its tools cost, and how soon a lead is told.
- [A team of a thousand](performance/thousand.md), by stand-ins of agents, and [how far a team scales](scale.md).
- [What the redraw of the code changed](performance/redraw.md).
"""
_HEADS = {
    "details": """# The tables of scripts/bench

`scripts/bench PART` makes one part anew: {listed}. The samples behind the tables are beside this page.
""",
    "leading": """# A team that leads itself

Made by `scripts/bench {names}`, which makes it anew with the figures of your machine; see
[performance](../performance.md). What the tools of many instances cost, how soon a lead is told, and what being told
costs it in tokens.
""",
    "thousand": """# A team of a thousand

Made by `scripts/bench {names}`, which makes it anew with the figures of your machine; see [scale](../scale.md).
""",
}
"""Of the pages beside it."""
_LONGEST_LEVEL_LABEL = 14
_STYLE = Style(
    background="white",
    plot_background="white",
    colors=("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#9c6b4e"),
    font_family="sans-serif",
)


def keep(part: Part, section: Section, machine: str, took_s: float) -> None:
    """Stores the result of a part and how long it took, and draws its plots."""
    KEPT.mkdir(exist_ok=True)
    rounded = {name: [round(sample, 3) for sample in samples] for name, samples in section.samples.items()}
    found = {"title": part.title, "machine": machine, "took_s": round(took_s), **asdict(section), "samples": rounded}
    (KEPT / f"{part.name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for number, plot in enumerate(section.plots):
        _draw(plot, _plot_file(part.name, number))


def took_s(part: Part) -> float | None:
    """How long the part took when it was measured last; None when that is not known."""
    path = KEPT / f"{part.name}.json"
    found = json.loads(path.read_text()).get("took_s") if path.exists() else None
    return None if found is None else float(found)


def path_of(part: Part) -> Path:
    """The page on which it stands."""
    return KEPT / f"{part.page}.md"


def write(parts: Sequence[Part]) -> None:
    """Writes the pages, and the tables of docs/scale.md, from the stored results."""
    for name, head in _HEADS.items():
        of_page = [part for part in parts if part.page == name]
        _write_page(path_of(of_page[0]), head.format(names=_names(of_page, " "), listed=_names(of_page, ", ")), of_page)
    _write_summary()
    scale.SCALE.write_text(scale.filled_in(scale.SCALE.read_text(), KEPT))


def _write_summary() -> None:
    results = summary.Results(KEPT)
    shown = "![Spawn, agents that need 3 s](performance/spawns.svg)\n"
    plot = summary.plot(results)
    if plot is not None:
        path = _plot_file("summary", 0)
        _draw(plot, path)
        shown += f"![{plot.title}]({path.relative_to(PAGE.parent)})\n"
    table = "\n".join(summary.table(summary.rows(results)))
    measured = json.loads((KEPT / "lead.json").read_text())["machine"]
    PAGE.write_text(_HEAD.format(machine=measured, table=table, plots=shown))


def _names(parts: Sequence[Part], between: str) -> str:
    return between.join(part.name for part in parts)


def _write_page(page: Path, head: str, parts: Sequence[Part]) -> None:
    chapters = [head]
    for part in parts:
        path = KEPT / f"{part.name}.json"
        if path.exists():
            chapters.append(_chapter(part.name, json.loads(path.read_text()), page.parent))
    page.write_text("\n".join(chapters))


def _chapter(name: str, found: dict[str, Any], directory: Path) -> str:
    columns = found["columns"]
    lines = [f"## {found['title']}", "", found["machine"], ""]
    lines += [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *found["rows"])]
    lines += ["", found["words"].strip(), ""] if found["words"].strip() else [""]
    for number, plot in enumerate(found["plots"]):
        lines += [f"![{plot['title']}]({_plot_file(name, number).relative_to(directory)})", ""]
    return "\n".join(lines)


def _plot_file(name: str, number: int) -> Path:
    return KEPT / (f"{name}-{number + 1}.svg" if number else f"{name}.svg")


def machine(claude_version: str) -> str:
    """One line on the machine, its load now, and the versions of the programs that matter."""
    tmux = subprocess.run(["tmux", "-V"], check=True, capture_output=True, text=True).stdout.strip()
    git = subprocess.run(["git", "version"], check=True, capture_output=True, text=True).stdout.split()[2]
    share = f", at niceness {niceness}" if (niceness := os.nice(0)) else ""
    memory_gb = psutil.virtual_memory().total / 2**30
    return (
        f"Machine: {os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, Ray {version('ray')}, mcp {version('mcp')}, {tmux}, git {git}, "
        f"Claude Code {claude_version}; load average {os.getloadavg()[0]:.1f} and {_million_turns_a_second():.0f} "
        f"million turns of a Python loop a second at the start{share}; "
        f"{datetime.now(UTC):%Y-%m-%d}."
    )


def _million_turns_a_second() -> float:
    """How fast a core is now: that of a virtual machine gets slower with what its host does beside it."""
    turns = 2_000_000
    took_s = min(timeit.repeat("pass", number=turns, repeat=5))
    return turns / took_s / 1e6


def _draw(plot: Plot, path: Path) -> None:
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
