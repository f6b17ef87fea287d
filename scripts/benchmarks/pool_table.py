"""What spare agents bring: one spawn of a real Claude from the pool, and fifty spawns after fifty were made ready."""

from __future__ import annotations

import time

from scripts.benchmarks import batches
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from tests.acceptance.team import Team

_SINGLES = 10
_MANY = 50
_AGENT_START_S = "3"
_AIM_MS, _AIM_S = 150.0, 3.0
_WORDS = """
From the call to the proof of the first message; a spawn that did not come from the pool fails the run. What a spawn
from the pool still does: a branch in the spare worktree, the record on disk, the identity of the agent and its first
message, typed and proved. Of that Claude Code itself takes some 120 to 170 ms: it gathers what is pasted for 50 ms
before it shows it, and its hook proves the message 60 to 110 ms after Enter.
"""


async def _singles_ms(team: Team) -> list[float]:
    """Real Claudes, one after the other, while nothing is refilled."""
    samples = []
    async with await team.connect() as client:
        await _prewarm(team, _SINGLES)
        for number in range(_SINGLES):
            begun = time.perf_counter()
            spawned = await client.spawn(team.specialist(f"task {number}"))
            samples.append((time.perf_counter() - begun) * 1000)
            if not spawned.from_pool:
                raise RuntimeError(f"spawn {number} did not come from the pool")
            await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    return samples


async def _many_s(team: Team) -> float:
    async with await team.connect() as client:
        await _prewarm(team, _MANY)
        batch = await batches.start(client, [team.specialist()] * _MANY)
    if batch.from_pool != _MANY:
        raise RuntimeError(f"{batch.from_pool} of {_MANY} came from the pool")
    return batch.took_s


async def _prewarm(team: Team, count: int) -> None:
    async with await team.connect() as client:
        warmed = await client.prewarm_instances(count, str(team.repository))
    if warmed.instances < count:
        raise RuntimeError(f"{warmed.instances} of {count} spares were made: {warmed.errors}")


async def _measure(bench: Bench) -> Section:
    bench.say(f"{_SINGLES} real Claudes from the pool, one by one")
    async with bench.team() as team:
        single = Figure(what="", aim="", samples=await _singles_ms(team))
    bench.say(f"{_MANY} demo agents from the pool at once")
    settings = {"PHALANX_AGENT": "demo", "PHALANX_DEMO_START_S": _AGENT_START_S, "MAX_CONCURRENT_SPAWNS": str(_MANY)}
    async with bench.team(**settings) as team:
        many_s = await _many_s(team)
    rows = [
        ("one spawn, real Claude", f"{single.p50:.0f} ms", f"{single.p95:.0f} ms", f"p50 ≤ {_AIM_MS:.0f} ms"),
        (f"all of {_MANY}, agents that need {_AGENT_START_S} s", f"{many_s:.1f} s", "", f"≤ {_AIM_S:.0f} s"),
    ]
    return Section(
        columns=("from the pool", "p50, or all", "p95", "aim"),
        rows=rows,
        words=_WORDS,
        samples={"one spawn, ms": single.samples, "all of 50, s": [many_s]},
    )


PART = Part(name="pool", title="Spawns from the pool", measure=_measure)
