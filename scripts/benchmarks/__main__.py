"""Runs all benchmarks on a team of its own and writes the page; see ``scripts/bench``."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from scripts.benchmarks import calls, entry_start, page, spawns, store
from scripts.benchmarks.figures import Figure
from tests.acceptance.team import Team, bring_up
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

CLAUDE = Path(".venv/claude/node_modules/.bin/claude").absolute()
console = Console(stderr=True, highlight=False)


async def measure(team: Team, scratch: Path) -> list[Figure]:
    figures = []
    console.print("spawns of a real Claude, and the bare program in turn …")
    figures.append(await spawns.measure(team, CLAUDE, scratch / "bare.sock"))
    console.print("messages to a real Claude …")
    figures += await calls.measure_messages(team)
    console.print("starts of the entry, and of a bare server in turn …")
    figures.append(await asyncio.to_thread(entry_start.measure, {**os.environ, **team.environment}))
    console.print("lists of twenty instances …")
    figures += await calls.measure_list(team)
    console.print("saves of a record …")
    figures += await store.measure_saves(["sqlite"])
    return figures


def main() -> int:
    scratch = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    claude_version = subprocess.run([CLAUDE, "--version"], check=True, capture_output=True, text=True).stdout.split()[0]
    try:
        with ApiStandIn() as api:
            environment = standin_environment(api.url, make_claude_home(scratch / "user"))
            team = bring_up(scratch, PHALANX_CLAUDE_COMMAND=str(CLAUDE), **environment)
            try:
                figures = asyncio.run(measure(team, scratch))
            finally:
                team.runtime.down(lambda step: None)
        page.write(figures, claude_version)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    console.print(Path("docs/performance.md").read_text(), markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
