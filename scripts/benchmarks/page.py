"""Writes docs/performance.md and docs/performance.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from scripts.benchmarks.figures import Figure

_HEAD = """# Performance

Made by `scripts/bench`; run it to get the figures of your machine. Times drift with the machine and with what else it
does; ratios are taken pair by pair within one run and hold better. A run fails when a result is not proved at the
receiver.

"""

_BOUNDS = """
What bounds the spawn: a cold spawn also makes the worktree, starts the instance's actor (about 0.4 s of CPU on the same
cores while Claude Code starts) and waits for proof, which Claude Code's own hook gives 60 to 190 ms after Enter; the
floor ends when the bare program shows its input box.
"""


def write(figures: Sequence[Figure], claude_version: str) -> None:
    machine = _machine(claude_version)
    lines = [f"Machine: {machine}", "", "| what | p50 | p95 | floor p50 | ratio | aim |", "|---|---|---|---|---|---|"]
    lines += [_row(figure) for figure in figures]
    Path("docs/performance.md").write_text(_HEAD + "\n".join(lines) + "\n" + _BOUNDS)
    Path("docs/performance.json").write_text(
        json.dumps(_document(figures, machine), indent=1, ensure_ascii=False) + "\n"
    )


def _row(figure: Figure) -> str:
    floor = f"{Figure(what='', aim='', samples=figure.floor).p50:.0f} ms" if figure.floor else ""
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
    digits = 1 if figure.p50 < 20 else 0
    columns = (figure.what, f"{figure.p50:.{digits}f} ms", f"{figure.p95:.{digits}f} ms", floor, ratio, figure.aim)
    return f"| {' | '.join(columns)} |"


def _document(figures: Sequence[Figure], machine: str) -> dict[str, object]:
    return {
        "machine": machine,
        "figures": [
            {
                "what": figure.what,
                "aim": figure.aim,
                "p50_ms": round(figure.p50, 2),
                "p95_ms": round(figure.p95, 2),
                "ratio": None if figure.ratio is None else round(figure.ratio, 3),
                "samples_ms": [round(sample, 2) for sample in figure.samples],
                "floor_ms": [round(sample, 2) for sample in figure.floor],
            }
            for figure in figures
        ],
    }


def _machine(claude_version: str) -> str:
    tmux = subprocess.run(["tmux", "-V"], check=True, capture_output=True, text=True).stdout.strip()
    memory_gb = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, Ray {version('ray')}, mcp {version('mcp')}, {tmux}, "
        f"Claude Code {claude_version}; load average {os.getloadavg()[0]:.1f} at the start; "
        f"{datetime.now(UTC):%Y-%m-%d}."
    )
