"""The cost of an idle instance beside its agent, against an idle actor in an environment with Ray alone.

Both run on this machine at the same time, so that load affects them alike.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

import psutil

from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.minimal_ray import BareActors, make_environment
from scripts.benchmarks.processes import exact_cpu_s, processes_of, pss_mb
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from tests.acceptance.team import Team

_SIZE = 10
_SETTLE_S = 10.0
_WATCHED_S = 30.0
_WORDS = f"""
{_SIZE} instances at their prompt and {_SIZE} bare actors, watched for {_WATCHED_S:.0f} s. An instance costs one process
beside its agent, the actor that follows it: no tmux client while nothing is typed, no timer of ours. What is left is
what Ray itself does in an actor. Memory is the proportional share (PSS), CPU what the kernel counts for all threads.
"""


async def _instances(team: Team) -> list[psutil.Process]:
    async with await team.connect() as client:
        batch = await start_batch(client, [team.specialist(agent="demo")] * _SIZE)
        await client.wait(requests.WaitRequest(instance_ids=batch.ids, timeout_seconds=60))
    found = processes_of(team.home)["instances"]
    if len(found) != _SIZE:
        raise RuntimeError(f"{_SIZE} instances have {len(found)} actors")
    return found


async def _measure(bench: Bench) -> Section:
    with bench.scratch() as directory:
        python = await asyncio.to_thread(make_environment, directory / "env")
        async with BareActors.begun(python, directory / "r") as bare, bench.team(PHALANX_AGENT="demo") as team:
            await bare.make(_SIZE)
            actors = [psutil.Process(pid) for pid in await bare.pids()]
            return await _compared(bench, await _instances(team), actors)


async def _compared(bench: Bench, ours: Sequence[psutil.Process], bare: Sequence[psutil.Process]) -> Section:
    bench.say(f"{len(ours)} instances and {len(bare)} bare actors, idle")
    await asyncio.sleep(_SETTLE_S)
    before = [[*map(exact_cpu_s, group)] for group in (ours, bare)]
    await asyncio.sleep(_WATCHED_S)
    after = [[*map(exact_cpu_s, group)] for group in (ours, bare)]
    cpu = [
        [(end - begin) / _WATCHED_S * 100 for begin, end in zip(begins, ends, strict=True)]
        for begins, ends in zip(before, after, strict=True)
    ]
    memory = [[*map(pss_mb, group)] for group in (ours, bare)]
    return Section(
        columns=("what", "instance", "bare actor", "ratio", "aim"),
        rows=[_row("memory", memory, "MB", "≤ 1.15"), _row("CPU, of one core", cpu, "%", "≤ 1.25")],
        words=_WORDS,
        samples={
            "memory of instances, MB": memory[0],
            "memory of bare actors, MB": memory[1],
            "CPU of instances, % of a core": cpu[0],
            "CPU of bare actors, % of a core": cpu[1],
        },
    )


def _row(what: str, samples: Sequence[Sequence[float]], unit: str, aim: str) -> tuple[str, ...]:
    ours, bare = map(statistics.median, samples)
    return (what, f"{ours:.2f} {unit}", f"{bare:.2f} {unit}", f"{ours / bare:.2f}", aim)


PART = Part(name="idle", title="An idle instance", measure=_measure)
