"""What a lead feels: one spawn, one message, the start of the entry, a list of twenty."""

from __future__ import annotations

import asyncio
import os

from scripts.benchmarks import calls, entry_start, spawns
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.section import Part, Section, of_figures

_WORDS = """
What bounds the spawn: before the program it makes the worktree, by three gits one after another, and writes records;
the launcher of the program takes 10 ms. The input box is seen when it is drawn, which ends the floor. Then Claude Code,
which is still busy with its own start, shows what was pasted only 100 to 150 ms later, and its own hook proves the
message 60 to 110 ms after Enter. The spare actor for the next spawn is started after the proof.
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
