"""Runs the named parts, or all, each with a team of its own, and writes the page after each; see ``scripts/bench``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.util import find_spec

from scripts.benchmarks import (
    claude_team,
    cluster,
    cold_start,
    dashboard,
    git_table,
    idle,
    idle_messages,
    lead,
    leading,
    page,
    pool_table,
    spawn_table,
    store,
    telling,
    tool_processes,
    traffic,
)
from scripts.benchmarks.bench import MESSAGES, Bench, console
from scripts.benchmarks.section import Part
from tests.cluster.rig import why_no_rig

PARTS: tuple[Part, ...] = (
    lead.PART,
    idle_messages.PART,
    spawn_table.PART,
    pool_table.PART,
    cold_start.PART,
    traffic.PART,
    tool_processes.PART,
    telling.PART,
    leading.PART,
    git_table.PART,
    store.PART,
    idle.PART,
    lead.CALLS,
    claude_team.PART,
    dashboard.PART,
    cluster.PART,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures, and writes docs/performance.md and the pages beside it."
    )
    known = {part.name: part for part in PARTS}
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*known, []], help=f"{', '.join(known)}; none: all")
    parser.add_argument("--cluster", action="store_true", help="the part cluster: needs root to make its hosts")
    parser.add_argument(
        "--messages", type=int, default=MESSAGES, metavar="N", help="of the part message; at first %(default)s"
    )
    given = parser.parse_args()
    chosen = [*given.parts, *([cluster.PART.name] if given.cluster else [])] or _possible(list(known))
    bench = Bench(messages=given.messages)
    for name in chosen:
        console.print(f"{known[name].title}:", markup=False)
        machine = page.machine(bench.claude_version())
        page.keep(known[name], asyncio.run(known[name].measure(bench)), machine)
        page.write(PARTS)
    for path in dict.fromkeys(page.path_of(known[name]) for name in chosen):
        console.print(path.read_text(), markup=False)
    return 0


def _possible(names: list[str]) -> list[str]:
    reasons = {
        cluster.PART.name: why_no_rig(),
        dashboard.PART.name: "" if find_spec("playwright") else "Playwright is missing: run scripts/setup --page",
    }
    for name, reason in reasons.items():
        if reason:
            console.print(f"Without {name}: {reason}", markup=False)
            names.remove(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
