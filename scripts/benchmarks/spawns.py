"""One real Claude: from the call of ``spawn`` to the proof of its first message, against the bare program."""

from __future__ import annotations

import time
from pathlib import Path

from scripts.benchmarks.bare_claude import BareClaudes
from scripts.benchmarks.figures import Figure
from supervisor.api import requests
from tests.acceptance.team import Team

_RUNS = 7


async def measure(team: Team, bare: BareClaudes) -> Figure:
    """Pairs in turn: ours, then the bare program until its transcript holds its first message."""
    ours, floor = [], []
    async with await team.connect() as client:
        for run in range(_RUNS + 1):
            begun = time.perf_counter()
            spawned = await client.spawn(team.specialist())
            took_ms = (time.perf_counter() - begun) * 1000
            await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
            await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
            floor_ms = await _bare_ms(bare, Path(spawned.working_directory).parent, f"task {run}")
            if run:
                ours.append(took_ms)
                floor.append(floor_ms)
    return Figure(
        what="spawn of one Claude with its first message, call to proof; floor: the bare program",
        aim="≤ 1.3",
        samples=ours,
        floor=floor,
    )


async def _bare_ms(bare: BareClaudes, directory: Path, text: str) -> float:
    begun = time.perf_counter()
    claude = await bare.start(directory)
    await claude.message(text)
    took_ms = (time.perf_counter() - begun) * 1000
    await claude.idle()
    bare.end(claude)
    return took_ms
