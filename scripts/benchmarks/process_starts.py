"""The start cost of each kind of process: its modules, CPU and time until they are loaded, and memory.

Run it before and after a change: ``python -m scripts.benchmarks.process_starts FILE`` writes JSON, and ``--beside
EARLIER`` also shows the differences from an earlier file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.process_imports import KINDS, Kind, given_to, start

_RUNS = 15
_SHOWN = ("modules", "own_modules", "cpu_ms", "wall_ms", "rss_mb")


def measure(kind: Kind, runs: int) -> dict[str, float]:
    """Figures of ``runs`` starts after a warm-up. The minimum is given too, because load only lengthens a start."""
    given = given_to(kind)
    loaded = start(kind, given)
    cpu, wall, rss = [], [], []
    for _ in range(runs):
        begun, used = time.perf_counter(), _children_s()
        rss.append(start(kind, given).rss_kb)
        cpu.append(_children_s() - used)
        wall.append(time.perf_counter() - begun)
    return {
        "modules": len(loaded.modules),
        "own_modules": len([name for name in loaded.modules if name.startswith(("actors", "supervisor", "mcp_entry"))]),
        "cpu_ms": round(min(cpu) * 1000, 1),
        "cpu_p50_ms": round(statistics.median(cpu) * 1000, 1),
        "wall_ms": round(min(wall) * 1000, 1),
        "wall_p50_ms": round(statistics.median(wall) * 1000, 1),
        "rss_mb": round(statistics.median(rss) / 1024, 2),
    }


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(name: str, now: Mapping[str, float], before: Mapping[str, float] | None) -> str:
    cells = [f"{now[what]:g}" + (f" ({now[what] - before[what]:+g})" if before else "") for what in _SHOWN]
    return f"{name:22}" + "".join(f"{cell:>18}" for cell in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures what starting each kind of process costs.")
    parser.add_argument("file", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--beside", type=Path, help="an earlier file to compare with")
    parser.add_argument("--runs", type=int, default=_RUNS)
    given = parser.parse_args()
    before = json.loads(given.beside.read_text())["kinds"] if given.beside else {}
    print(f"{'':22}" + "".join(f"{what:>18}" for what in _SHOWN))
    kinds = {}
    for name, kind in KINDS.items():
        kinds[name] = measure(kind, given.runs)
        print(_row(name, kinds[name], before.get(name)), flush=True)
    told = {"python": sys.version.split()[0], "cores": os.cpu_count(), "runs": given.runs, "kinds": kinds}
    given.file.write_text(json.dumps(told, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
