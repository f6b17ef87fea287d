"""Teams of the real Claude Code: ten one by one and ten at once, then fifty, and each answers one message."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from scripts.benchmarks.bare_claude import bare_programs
from scripts.benchmarks.bench import Bench, message_each, start_batch, until_idle
from scripts.benchmarks.held_memory import HeldMemory
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_FEW, _MANY = 10, 50
_RUNS = 3
_LOOK_S = 0.02
_PATIENCE_S = 600.0
_WORDS = """
The real program against a stand-in of the API on this machine. *floor*: as many bare programs, each started at once in
a tmux and a directory of its own and typed into with the fewest steps that work, until its transcript holds its text;
*with tools and hooks*: the same programs with the options of a member, that is the tools of the team and the hooks that
tell what it does. A batch and its floors run in turn. All get memory that the machine already has. *all have answered*:
one more message, from the call until the record of each instance shows its answer. *memory*: how much more of the
machine is in use than before the batch.

What bounds it: the cores, which a batch and its floor both use to the full. Connecting to tools and having hooks at all
takes of Claude Code what the second floor takes above the first. Above that a start of ours has its actor, its worktree
and its records.
"""


async def _answers_s(client: SupervisorClient, ids: list[str]) -> float:
    """Seconds from the call until each has answered one more message."""
    await until_idle(client, ids, _PATIENCE_S)
    before = {one: len(await _said(client, one)) for one in ids}
    begun = time.perf_counter()
    await message_each(client, ids, _PATIENCE_S)
    await until_idle(client, ids, _PATIENCE_S)
    took_s = time.perf_counter() - begun
    silent = [one for one in ids if len(await _said(client, one)) <= before[one]]
    if silent:
        raise RuntimeError(f"without an answer: {', '.join(silent)}")
    return took_s


async def _said(client: SupervisorClient, instance_id: str) -> list[str]:
    page = await client.read(requests.ReadRequest(instance_id=instance_id, lines=500))
    return [entry.text for entry in page.entries if entry.kind == "answer"]


async def _one_by_one_s(client: SupervisorClient, team: Team) -> tuple[float, float]:
    """Seconds for the spawns, and for one message each after the other."""
    begun = time.perf_counter()
    ids = [(await client.spawn(team.specialist())).instance_id for _ in range(_FEW)]
    spawned_s = time.perf_counter() - begun
    await until_idle(client, ids, _PATIENCE_S)
    return spawned_s, sum([await _answers_s(client, [one]) for one in ids])


@dataclass(frozen=True, slots=True, kw_only=True)
class _AtOnce:
    """``started_s``: of the batch; ``answered_s``: of one message to each of them; ``memory_gb``: that they took;
    ``equipped_s``: of the floor's programs with the tools and hooks of a member."""

    started_s: float
    answered_s: float
    memory_gb: float
    floor_s: float = 0.0
    equipped_s: float = 0.0

    def row(self, what: str, *, floor: str = "", ratio: str = "") -> tuple[str, ...]:
        times = (f"{self.started_s:.1f} s", floor, ratio, "≤ 1.05" if ratio else "", f"{self.answered_s:.1f} s")
        return (what, *times, f"{self.memory_gb:.1f} GB")


async def _at_once(bench: Bench, memory: HeldMemory, size: int, *, with_floor: bool) -> _AtOnce:
    settings = {"MAX_CONCURRENT_SPAWNS": str(size), "PHALANX_SPAWN_TIMEOUT_S": f"{_PATIENCE_S:.0f}"}
    async with bench.team(**settings) as team, await team.connect() as client:
        await memory.until_all_is_held()
        used_gb = memory.used_by_others_gb
        batch = await start_batch(client, [team.specialist()] * size)
        answered_s = await _answers_s(client, batch.ids)
        memory_gb = memory.used_by_others_gb - used_gb
        floor_s = equipped_s = 0.0
        if with_floor:
            one, *others = batch.ids  # whose tools the bare programs get
            await client.terminate(requests.TerminateRequest(instance_ids=others))
            floor_s = await _floor_s(bench, memory, team, size)
            equipped_s = await _floor_s(bench, memory, team, size, options_of=one)
        return _AtOnce(
            started_s=batch.took_s,
            answered_s=answered_s,
            memory_gb=memory_gb,
            floor_s=floor_s,
            equipped_s=equipped_s,
        )


async def _floor_s(bench: Bench, memory: HeldMemory, team: Team, size: int, *, options_of: str = "") -> float:
    await memory.until_all_is_held()
    async with bare_programs(bench, team, size, at_once=size, look_s=_LOOK_S, options_of=options_of) as (took_s, _):
        return took_s


async def _few(bench: Bench, memory: HeldMemory) -> tuple[list[tuple[str, ...]], dict[str, list[float]]]:
    """In turn: a batch, and then its floor without and with a member's tools and hooks."""
    runs = []
    for run in range(_RUNS):
        bench.say(f"{_FEW} at once and their floor, run {run + 1} of {_RUNS}")
        runs.append(await _at_once(bench, memory, _FEW, with_floor=True))
    middle = sorted(runs, key=lambda one: one.started_s)[_RUNS // 2]
    floor = statistics.median(one.floor_s for one in runs)
    ratio = statistics.median(one.started_s / one.floor_s for one in runs)
    equipped = statistics.median(one.equipped_s for one in runs)
    of_equipped = statistics.median(one.started_s / one.equipped_s for one in runs)
    rows = [
        middle.row(f"{_FEW} in a batch", floor=f"{floor:.1f} s", ratio=f"{ratio:.2f}"),
        (f"{_FEW} in a batch; floor with tools and hooks", "", f"{equipped:.1f} s", f"{of_equipped:.2f}", "", "", ""),
    ]
    samples = {
        f"{_FEW} in a batch, s": [one.started_s for one in runs],
        f"{_FEW} in a batch (floor), s": [one.floor_s for one in runs],
        f"{_FEW} in a batch (floor with tools and hooks), s": [one.equipped_s for one in runs],
        f"{_FEW} in a batch: answers, s": [one.answered_s for one in runs],
    }
    return rows, samples


async def _measure(bench: Bench) -> Section:
    with HeldMemory() as memory:
        return await _measure_with(memory, bench)


async def _measure_with(memory: HeldMemory, bench: Bench) -> Section:
    bench.say(f"{_FEW} one by one")
    async with bench.team() as team, await team.connect() as client:
        await memory.until_all_is_held()
        spawned_s, answered_s = await _one_by_one_s(client, team)
    few, samples = await _few(bench, memory)
    bench.say(f"{_MANY} at once")
    many = await _at_once(bench, memory, _MANY, with_floor=False)
    one_by_one = (f"{_FEW} one by one", f"{spawned_s:.1f} s", "", "", "", f"{answered_s:.1f} s", "")
    samples["one by one: spawns, answers, s"] = [spawned_s, answered_s]
    samples[f"{_MANY} in a batch: spawns, answers, s"] = [many.started_s, many.answered_s]
    return Section(
        columns=("instances", "all have their first message", "floor", "ratio", "aim", "all have answered", "memory"),
        rows=[one_by_one, *few, many.row(f"{_MANY} in a batch")],
        words=_WORDS,
        samples=samples,
    )


PART = Part(name="claude", title="Teams of the real Claude Code", measure=_measure)
