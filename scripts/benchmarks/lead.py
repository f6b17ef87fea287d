"""What a lead feels: one spawn, one message, the start of the entry, a list of twenty."""

from __future__ import annotations

import asyncio
import os

from scripts.benchmarks import calls, entry_start, spawns
from scripts.benchmarks.bare_claude import BareClaudes
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.section import Part, Section, of_figures

_WORDS = """
*floor* of spawn and message: Claude Code alone in a tmux session, started, typed into and entered with the fewest steps
that work, until its own transcript holds the text. Claude Code shows what was pasted 50 to 100 ms later, reports it by
its hook after Enter, and writes its transcript after that; a message counts as submitted when it stands there. Above
the floor a spawn makes a worktree by three gits, writes its records, and starts the actor that follows the instance;
the spare actor for the next spawn is started after the proof.
"""


async def _measure(bench: Bench) -> Section:
    figures = []
    async with bench.team() as team:
        bench.say("spawns of a real Claude, and the bare program in turn")
        with bench.scratch() as scratch:
            bare = BareClaudes(bench.claude, scratch / "bare.sock", team.environment)
            try:
                figures.append(await spawns.measure(team, bare))
                bench.say("messages to a real Claude, and to the bare program in turn")
                figures += await calls.measure_messages(team, bare)
            finally:
                bare.close()
        bench.say("starts of the entry, and of a bare server in turn")
        figures.append(await asyncio.to_thread(entry_start.measure, {**os.environ, **team.environment}))
        bench.say("lists of twenty instances")
        figures += await calls.measure_list(team)
    return of_figures(figures, _WORDS)


PART = Part(name="lead", title="What a lead feels", measure=_measure)
