"""What a tool call costs while a hundred instances are present: from the entry to the answer, without work in it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.raw_server import RawServer
from scripts.benchmarks.section import Part, Section, of_figures
from supervisor import requests

_SIZE = 100
_CALLS = 300
_WORDS = f"""
{_SIZE} demo agents at rest. The call goes over the stdio of the entry and the team's socket, as a lead makes it. `list`
of all carries what there is to say of each of the {_SIZE}.
"""
_TOOLS: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("list", {"needsAttention": True}, "≤ 3 ms"),
    ("get_performance", {}, ""),
    ("list", {}, ""),
)


def _calls_ms(environment: Mapping[str, str], tool: str, arguments: Mapping[str, Any]) -> list[float]:
    samples = []
    with RawServer("mcp_entry", environment) as entry:
        entry.initialize()
        entry.ready()
        for call in range(_CALLS + 1):
            begun = time.perf_counter()
            entry.ask("tools/call", name=tool, arguments=arguments)
            if call:  # the first one connects
                samples.append((time.perf_counter() - begun) * 1000)
    return samples


async def _measure(bench: Bench) -> Section:
    bench.say(f"making {_SIZE} demo agents")
    async with bench.team(PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS="20") as team:
        async with await team.connect() as client:
            spawned = await client.spawn_batch(requests.SpawnBatchRequest(instances=[team.specialist()] * _SIZE))
            if not spawned.success:
                raise RuntimeError(f"not all started: {[one.error for one in spawned.instances if one.error]}")
            ids = [one.instance_id or "" for one in spawned.instances]
            await client.wait(requests.WaitRequest(instance_ids=ids))
        figures = []
        for tool, arguments, aim in _TOOLS:
            bench.say(f"{_CALLS} calls of {tool}")
            samples = await asyncio.to_thread(_calls_ms, {**os.environ, **team.environment}, tool, arguments)
            how = "".join(f", `{name}`" for name in arguments)
            figures.append(Figure(what=f"`{tool}`{how}", aim=aim, samples=samples))
    return of_figures(figures, _WORDS)


PART = Part(name="calls", title="Tool calls with a hundred instances present", measure=_measure)
