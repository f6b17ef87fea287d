"""Runs the named parts, or all, each with a team of its own, and writes the page after each; see ``scripts/bench``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec

from mcp_entry.progress import about
from scripts.benchmarks import (
    claude_team,
    cluster,
    cold_start,
    commands,
    dashboard,
    git_table,
    hours,
    hundred,
    idle,
    idle_messages,
    idle_team,
    lead,
    leading,
    page,
    pool_table,
    recovery,
    spawn_table,
    store,
    telling,
    thousand,
    tool_processes,
    traffic,
)
from scripts.benchmarks.bench import MESSAGES, MINUTES, Bench, console
from scripts.benchmarks.peers import run as peers
from scripts.benchmarks.peers.results import PAGE as PEERS_PAGE
from scripts.benchmarks.peers.scenarios import SCENARIOS
from scripts.benchmarks.section import Part
from tests.cluster.rig import why_no_rig

PARTS: tuple[Part, ...] = (
    lead.PART,
    commands.PART,
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
    idle_team.PART,
    lead.CALLS,
    claude_team.PART,
    hundred.PART,
    hours.PART,
    dashboard.PART,
    recovery.PART,
    cluster.PART,
    thousand.PART,
)


_STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures, and writes docs/performance.md and the pages beside it."
    )
    known = {part.name: part for part in PARTS}
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*known, []], help=f"{', '.join(known)}; none: all")
    parser.add_argument("--cluster", action="store_true", help="the part cluster: needs root to make its hosts")
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        choices=[*peers.NAMES, *SCENARIOS, []],
        help=f"compares with others instead: {', '.join(peers.NAMES)}; only {', '.join(SCENARIOS)}",
    )
    parser.add_argument(
        "--messages", type=int, default=MESSAGES, metavar="N", help="of the part message; at first %(default)s"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, metavar="N", help="of the part hours; at first %(default)g"
    )
    given = parser.parse_args()
    chosen = [*given.parts, *([cluster.PART.name] if given.cluster else [])] or _possible(list(known))
    bench = Bench(messages=given.messages, minutes=given.minutes)
    if given.peers is not None:
        peers.run(given.peers, bench)
        console.print(PEERS_PAGE.read_text(), markup=False)
        return 0
    for number, name in enumerate(chosen):
        console.print(f"{known[name].title}{_how_far([known[each] for each in chosen], number)}:", markup=False)
        machine = page.machine(bench.claude_version())
        begun = time.monotonic()
        try:
            section = asyncio.run(known[name].measure(bench))
        except KeyboardInterrupt:
            console.print(
                f"Stopped. What {name} had started is ended, and its page stays as it was; the parts before are kept. "
                f"`scripts/bench {' '.join(chosen[number:])}` measures the rest.",
                markup=False,
            )
            return _STOPPED
        page.keep(known[name], section, machine, time.monotonic() - begun)
        page.write(PARTS)
    for path in dict.fromkeys(page.path_of(known[name]) for name in chosen):
        console.print(path.read_text(), markup=False)
    return 0


def _how_far(parts: Sequence[Part], number: int) -> str:
    """Which of several parts comes now, and how long the rest takes if each takes as long as it did last time."""
    if len(parts) == 1:
        return ""
    took_s = [page.took_s(part) for part in parts[number:]]
    known_s = [each for each in took_s if each is not None]
    left = f", {about(sum(known_s))} left if they take as long as last time" if len(known_s) == len(took_s) else ""
    return f" (part {number + 1} of {len(parts)}{left})"


def _possible(names: list[str]) -> list[str]:
    no_browser = "" if find_spec("playwright") else "Playwright is missing: run scripts/setup --page"
    reasons = {
        cluster.PART.name: why_no_rig(),
        dashboard.PART.name: no_browser,
        thousand.PART.name: why_no_rig() or no_browser,
        hours.PART.name: "it takes an hour and has to be named",
    }
    for name, reason in reasons.items():
        if reason:
            console.print(f"Without {name}: {reason}", markup=False)
            names.remove(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
