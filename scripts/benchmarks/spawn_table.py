"""The guide's table of spawns: 10, 25 and 50 instances whose agent needs 3 s to start."""

from __future__ import annotations

import time
from collections.abc import Sequence

from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.section import Part, Plot, Section
from tests.acceptance.team import Team

_SIZES = (10, 25, 50)
_AGENT_START_S = 3.0
_AIM_S = {10: 5.0, 25: 8.0, 50: 15.0}
_GUIDE_S = {10: (50.0, 8.0), 25: (125.0, 15.0), 50: (250.0, 25.0)}
_ORIGINAL_S = {10: (147.4, 29.7)}
_WORDS = """
Each instance is a demo agent that needs 3 s from its start to its prompt; the clock runs from the call to the proof of
the last first message. *cap n*: the spawn cap raised to the number of instances. *guide*: what the guide of the system
that Phalanx replaces states; *original*: what that system was measured to do, with an agent that needs 0.3 s.
"""


async def _batch_s(team: Team, size: int) -> float:
    async with await team.connect() as client:
        return (await start_batch(client, [team.specialist(agent="demo")] * size)).took_s


async def _one_by_one_s(team: Team) -> dict[int, float]:
    """Seconds until the 10th, the 25th and the 50th had its first message."""
    after: dict[int, float] = {}
    async with await team.connect() as client:
        begun = time.perf_counter()
        for number in range(1, _SIZES[-1] + 1):
            await client.spawn(team.specialist(agent="demo"))
            after[number] = time.perf_counter() - begun
    return {size: after[size] for size in _SIZES}


async def _measure(bench: Bench) -> Section:
    agent = {"PHALANX_AGENT": "demo", "PHALANX_DEMO_START_S": str(_AGENT_START_S)}
    capped, raised = {}, {}
    for size in _SIZES:
        bench.say(f"{size} at once, with the cap raised and with the default cap")
        async with bench.team(**agent, MAX_CONCURRENT_SPAWNS=str(size)) as team:
            raised[size] = await _batch_s(team, size)
        async with bench.team(**agent) as team:
            capped[size] = await _batch_s(team, size)
    bench.say("50 one by one")
    async with bench.team(**agent) as team:
        single = await _one_by_one_s(team)
    rows = [_row(size, single[size], capped[size], raised[size]) for size in _SIZES]
    return Section(
        columns=("instances", "one by one", "batch, cap 5", "batch, cap n", "aim", "guide", "original"),
        rows=rows,
        words=_WORDS,
        samples={
            "one by one, s": list(single.values()),
            "batch with the default cap, s": list(capped.values()),
            "batch with the cap raised, s": list(raised.values()),
        },
        plots=[_plot(single, capped, raised)],
    )


def _row(size: int, single_s: float, capped_s: float, raised_s: float) -> tuple[str, ...]:
    return (
        str(size),
        f"{single_s:.1f} s",
        f"{capped_s:.1f} s",
        f"{raised_s:.1f} s",
        f"≤ {_AIM_S[size]:.0f} s",
        _pair(_GUIDE_S.get(size)),
        _pair(_ORIGINAL_S.get(size)),
    )


def _pair(figures_s: Sequence[float] | None) -> str:
    return "" if figures_s is None else f"{figures_s[0]:.0f} s / {figures_s[1]:.0f} s"


def _plot(single: dict[int, float], capped: dict[int, float], raised: dict[int, float]) -> Plot:
    series = {
        "guide, optimized": [_GUIDE_S[size][1] for size in _SIZES],
        "one by one": [single[size] for size in _SIZES],
        "batch, cap 5": [capped[size] for size in _SIZES],
        "batch, cap n": [raised[size] for size in _SIZES],
    }
    return Plot(title="Spawn, agents that need 3 s", unit="s", labels=[str(size) for size in _SIZES], series=series)


PART = Part(name="spawns", title="The guide's table of spawns", measure=_measure)
