"""Teams of the real Claude Code: ten one by one and ten at once, then fifty, and each answers one message."""

from __future__ import annotations

import time

import psutil

from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_FEW, _MANY = 10, 50
_PATIENCE_S = 600.0
_WORDS = """
The real program against a stand-in of the API on this machine. Starting one takes about 1.2 s of CPU, which on the
cores that there are bounds a batch. An answer counts when the record of the instance shows it. *memory*: how much more
of the machine is in use than before the batch.
"""


async def _answers_s(client: SupervisorClient, ids: list[str]) -> float:
    """Seconds from the call until each has answered one more message."""
    await _idle(client, ids)
    before = {one: len(await _said(client, one)) for one in ids}
    messages = [requests.BatchMessage(instance_id=one, message=f"Report, {one}.") for one in ids]
    begun = time.perf_counter()
    sent = await client.send_batch(requests.SendBatchRequest(messages=messages, wait=True, timeout_seconds=_PATIENCE_S))
    if not sent.success:
        raise RuntimeError(f"not all messages arrived: {[one.reason for one in sent.results if one.reason]}")
    await _idle(client, ids)
    took_s = time.perf_counter() - begun
    silent = [one for one in ids if len(await _said(client, one)) <= before[one]]
    if silent:
        raise RuntimeError(f"without an answer: {', '.join(silent)}")
    return took_s


async def _idle(client: SupervisorClient, ids: list[str]) -> None:
    waited = await client.wait(requests.WaitRequest(instance_ids=ids, timeout_seconds=_PATIENCE_S))
    if not waited.reached:
        raise RuntimeError(f"not idle after {_PATIENCE_S:.0f} s: {waited.instances}")


async def _said(client: SupervisorClient, instance_id: str) -> list[str]:
    page = await client.read(requests.ReadRequest(instance_id=instance_id, lines=500))
    return [entry.text for entry in page.entries if entry.kind == "answer"]


async def _one_by_one_s(client: SupervisorClient, team: Team) -> tuple[float, float]:
    """Seconds for the spawns, and for one message each after the other."""
    begun = time.perf_counter()
    ids = [(await client.spawn(team.specialist())).instance_id for _ in range(_FEW)]
    spawned_s = time.perf_counter() - begun
    await _idle(client, ids)
    return spawned_s, sum([await _answers_s(client, [one]) for one in ids])


async def _at_once(bench: Bench, size: int) -> tuple[float, float, float]:
    """Seconds for the batch, and for one message to each of them; GB of memory that they took."""
    settings = {"MAX_CONCURRENT_SPAWNS": str(size), "PHALANX_SPAWN_TIMEOUT_S": f"{_PATIENCE_S:.0f}"}
    async with bench.team(**settings) as team, await team.connect() as client:
        used = psutil.virtual_memory().used
        batch = await start_batch(client, [team.specialist()] * size)
        answered_s = await _answers_s(client, batch.ids)
        return batch.took_s, answered_s, (psutil.virtual_memory().used - used) / 1e9


async def _measure(bench: Bench) -> Section:
    rows, samples = [], {}
    bench.say(f"{_FEW} one by one")
    async with bench.team() as team, await team.connect() as client:
        single = await _one_by_one_s(client, team)
    rows.append((f"{_FEW} one by one", f"{single[0]:.1f} s", f"{single[1]:.1f} s", ""))
    samples["one by one: spawns, answers, s"] = list(single)
    for size in (_FEW, _MANY):
        bench.say(f"{size} at once")
        started_s, answered_s, memory_gb = await _at_once(bench, size)
        rows.append((f"{size} in a batch", f"{started_s:.1f} s", f"{answered_s:.1f} s", f"{memory_gb:.1f} GB"))
        samples[f"{size} in a batch: spawns, answers, s"] = [started_s, answered_s]
    columns = ("instances", "all have their first message", "all have answered one more", "memory")
    return Section(columns=columns, rows=rows, words=_WORDS, samples=samples)


PART = Part(name="claude", title="Teams of the real Claude Code", measure=_measure)
