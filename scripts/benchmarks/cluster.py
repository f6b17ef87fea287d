"""A team over three hosts: a spawn of a hundred against one host, and how long a lost host's instances are away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.section import Part, Section
from tests.cluster.asking import phalanx
from tests.cluster.cluster import cluster_of
from tests.cluster.rig import Rig, RigHost, why_no_rig
from tests.cluster.team.calling import PROJECT, done, entry_on

_SIZE = 100
_RUNS = 1
_CAP = "10"
_AWAY_S = 300.0
_POLL_S = 0.5
_WORDS = f"""
{_SIZE} demo agents in one `spawn_batch`, {_CAP} spawns at a time, from the call to the proof of the last first message;
one machine and the cluster in turn. The three hosts are network namespaces on **one machine** and share its cores, so
what can be seen here is what the cluster costs more (mirrors, bundles, actors placed by address), not what its further
cores bring. A host dies as by a power cut with a third of the {_SIZE} on it; its instances are away until each of them
runs elsewhere and one has proved a message. An instance is started elsewhere 45 s after it was heard of last, so
long takes the lease that keeps two copies from working at once; meanwhile Ray takes the host for dead. The rest is
starting them.
"""


async def _measure(bench: Bench) -> Section:
    if reason := why_no_rig():
        raise RuntimeError(f"No hosts can be made: {reason}")
    one, three, away = [], [], []
    with ExitStack() as scratch:
        bench.say("ray up on three hosts")
        up = await asyncio.to_thread(
            scratch.enter_context,
            cluster_of(3, lambda: scratch.enter_context(bench.scratch()), _SIZE, lambda _host: None),
        )
        rig = up.rig
        for run in range(_RUNS):
            bench.say(f"{_SIZE} on one machine, {_SIZE} on three hosts ({run + 1} of {_RUNS})")
            one.append(await _on_one(bench))
            three.append(await asyncio.to_thread(_on_three, rig, down=run + 1 < _RUNS))
        for lost in (rig.hosts[2], rig.hosts[1]):
            bench.say(f"{lost.name} loses its power")
            away.append(await asyncio.to_thread(_away_s, rig.hosts[0], lost))
    return _section(one, three, away)


def _section(one: Sequence[float], three: Sequence[float], away: Sequence[float]) -> Section:
    rows = [
        (f"spawn of {_SIZE} on one machine", _seconds(one), "", ""),
        (f"spawn of {_SIZE} over three hosts", _seconds(three), f"{min(three) / min(one):.2f} of one machine", ""),
        ("from a host's death until its instances work elsewhere", _seconds(away), "", "≤ 60 s"),
    ]
    samples = {"one machine (s)": one, "three hosts (s)": three, "away (s)": away}
    return Section(columns=("what", "least to most", "ratio", "aim"), rows=rows, words=_WORDS, samples=samples)


def _seconds(samples: Sequence[float]) -> str:
    return f"{min(samples):.1f} to {max(samples):.1f} s"


async def _on_one(bench: Bench) -> float:
    async with bench.team(PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS=_CAP) as team, await team.connect() as client:
        return (await start_batch(client, [team.specialist()] * _SIZE)).took_s


def _on_three(rig: Rig, *, down: bool) -> float:
    """``down``: the team goes, for another to come."""
    head = rig.hosts[0]
    phalanx(head, "up")
    phalanx(head, "tune", "--spawns", _CAP)
    member = {"role": "specialist", "workDir": str(PROJECT), "context": "hello"}
    with entry_on(head) as entry:
        done(entry.call("list"))
        begun = time.perf_counter()
        spawned = done(entry.call("spawn_batch", instances=[member] * _SIZE))
        took_s = time.perf_counter() - begun
    if not spawned["success"]:
        raise RuntimeError(f"not all of {_SIZE} started on three hosts")
    if down:
        phalanx(head, "down")
    return took_s


def _away_s(head: RigHost, lost: RigHost) -> float:
    there = [each["instanceId"] for each in _listed(head) if each["host"] == lost.name and each["status"] == "ready"]
    lost.lose_power()
    begun = time.perf_counter()
    while not all(_works(each, lost) for each in _listed(head) if each["instanceId"] in there):
        if time.perf_counter() - begun > _AWAY_S:
            raise RuntimeError(f"the instances of {lost.name} do not come back")
        time.sleep(_POLL_S)
    if phalanx(head, "send", "--wait", there[0], "are you there?")["status"] != "submitted":
        raise RuntimeError(f"{there[0]} takes no message")
    return time.perf_counter() - begun


def _works(instance: Mapping[str, object], lost: RigHost) -> bool:
    return instance["host"] != lost.name and instance["status"] == "ready"


def _listed(head: RigHost) -> Sequence[Mapping[str, Any]]:
    listed: Sequence[Mapping[str, Any]] = phalanx(head, "list")["instances"]
    return listed


PART = Part(name="cluster", title="A team over three hosts", measure=_measure)
