"""Spawns from the pool: single ones of a real Claude, and fifty at once after fifty spares were made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks.bare_claude import BareClaudes
from scripts.benchmarks.bench import Bench, start_batch, timed
from scripts.benchmarks.section import Figure, Part, Section, of_figures
from supervisor.api import requests
from tests.acceptance.team import Team

_SINGLES = 10
_MANY = 50
_AGENT_START_S = "3"
_AT_REST_S = 2.0
"""Pause of the bare program before its message; a spare has waited longer at its prompt."""
_AIM_S = 3.0
_WORDS = """
From the call to the proof of the first message; a spawn that did not come from the pool fails the run. *floor*: the
first message to a bare Claude Code that waits at its prompt, typed and entered with the fewest steps that work, until
its own transcript holds it. What a spawn from the pool still does beside that: a branch in the spare worktree, the
record on disk, the identity of the agent.
"""


async def _singles(team: Team, bare: BareClaudes) -> Figure:
    """Real Claudes from the pool and bare ones in turn, while nothing is refilled."""
    samples, floor = [], []
    async with await team.connect() as client:
        await _prewarm(team, _SINGLES)
        for number in range(_SINGLES):
            took_ms, spawned = await timed(client.spawn(team.specialist(f"task {number}")))
            samples.append(took_ms)
            if not spawned.from_pool:
                raise RuntimeError(f"spawn {number} did not come from the pool")
            await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
            alone = await bare.start(Path(spawned.working_directory).parent)
            await asyncio.sleep(_AT_REST_S)
            floor.append((await timed(alone.message(f"task {number}.")))[0])
            await alone.idle()
            bare.end(alone)
    return Figure(what="one spawn, real Claude", aim="≤ 1.5", samples=samples, floor=floor)


async def _many_s(team: Team) -> float:
    async with await team.connect() as client:
        await _prewarm(team, _MANY)
        batch = await start_batch(client, [team.specialist()] * _MANY)
    if batch.from_pool != _MANY:
        raise RuntimeError(f"{batch.from_pool} of {_MANY} came from the pool")
    return batch.took_s


async def _prewarm(team: Team, count: int) -> None:
    async with await team.connect() as client:
        warmed = await client.prewarm_instances(count, str(team.repository))
    if warmed.instances < count:
        raise RuntimeError(f"{warmed.instances} of {count} spares were made: {warmed.errors}")


async def _measure(bench: Bench) -> Section:
    bench.say(f"{_SINGLES} real Claudes from the pool, and bare ones in turn")
    async with bench.team() as team:
        with bench.scratch() as scratch, BareClaudes(bench.claude, scratch / "bare.sock", team.environment) as bare:
            single = await _singles(team, bare)
    bench.say(f"{_MANY} demo agents from the pool at once")
    settings = {"PHALANX_AGENT": "demo", "PHALANX_DEMO_START_S": _AGENT_START_S, "MAX_CONCURRENT_SPAWNS": str(_MANY)}
    async with bench.team(**settings) as team:
        many_s = await _many_s(team)
    section = of_figures([single], _WORDS)
    many = (f"all of {_MANY}, agents that need {_AGENT_START_S} s", f"{many_s:.1f} s", "", "", "", f"≤ {_AIM_S:.0f} s")
    return replace(
        section,
        columns=("from the pool", "p50, or all", *section.columns[2:]),
        rows=[*section.rows, many],
        samples={**section.samples, "all of 50, s": [many_s]},
    )


PART = Part(name="pool", title="Spawns from the pool", measure=_measure)
