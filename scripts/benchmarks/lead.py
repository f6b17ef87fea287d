"""What a lead feels: one spawn, one message, the start of the entry, a list of twenty."""

from __future__ import annotations

import asyncio
import os

from scripts.benchmarks import calls, entry_start, spawns
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.section import Part, Section, of_figures

_WORDS = """
What bounds the spawn: beside the start of the program it makes the worktree, and a spare actor for the next one is
started on the same cores; then it waits for proof, which Claude Code's own hook gives 60 to 190 ms after Enter. The
floor ends when the bare program shows its input box.
"""


async def _measure(bench: Bench) -> Section:
    figures = []
    async with bench.team() as team:
        bench.say("spawns of a real Claude, and the bare program in turn")
        with bench.scratch() as scratch:
            figures.append(await spawns.measure(team, bench.claude, scratch / "bare.sock"))
        bench.say("messages to a real Claude")
        figures += await calls.measure_messages(team)
        bench.say("starts of the entry, and of a bare server in turn")
        figures.append(await asyncio.to_thread(entry_start.measure, {**os.environ, **team.environment}))
        bench.say("lists of twenty instances")
        figures += await calls.measure_list(team)
    return of_figures(figures, _WORDS)


PART = Part(name="lead", title="What a lead feels", measure=_measure)
