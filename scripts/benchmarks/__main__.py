"""Runs the parts that are named, or all, each with a team of its own, and writes the page; see ``scripts/bench``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from scripts.benchmarks import (
    claude_team,
    cold_start,
    git_table,
    hundred,
    idle,
    lead,
    page,
    pool_table,
    spawn_table,
    store,
    traffic,
)
from scripts.benchmarks.bench import Bench, console
from scripts.benchmarks.section import Part

PARTS: tuple[Part, ...] = (
    lead.PART,
    spawn_table.PART,
    pool_table.PART,
    cold_start.PART,
    traffic.PART,
    git_table.PART,
    store.PART,
    idle.PART,
    hundred.PART,
    claude_team.PART,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures, and writes docs/performance.md.")
    known = {part.name: part for part in PARTS}
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*known, []], help=f"{', '.join(known)}; none: all")
    chosen = parser.parse_args().parts or list(known)
    bench = Bench()
    for name in chosen:
        console.print(f"{known[name].title}:", markup=False)
        machine = page.machine(bench.claude_version())
        page.keep(known[name], asyncio.run(known[name].measure(bench)), machine)
        page.write(PARTS)
    console.print(page.PAGE.read_text(), markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
