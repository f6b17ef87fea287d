"""Times of tool calls in a team of a hundred idle instances, from the entry to the answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from scripts.benchmarks import batches
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.raw_server import tool_calls_ms
from scripts.benchmarks.section import Figure, Part, Section, of_figures
from supervisor.api import requests

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


async def _measure(bench: Bench) -> Section:
    bench.say(f"making {_SIZE} demo agents")
    async with bench.team(PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS="20") as team:
        async with await team.connect() as client:
            batch = await batches.start(client, [team.specialist()] * _SIZE)
            await client.wait(requests.WaitRequest(instance_ids=batch.ids))
        figures = []
        for tool, arguments, aim in _TOOLS:
            bench.say(f"{_CALLS} calls of {tool}")
            environment = {**os.environ, **team.environment}
            samples = await asyncio.to_thread(tool_calls_ms, environment, tool, arguments, _CALLS)
            how = "".join(f", `{name}`" for name in arguments)
            figures.append(Figure(what=f"`{tool}`{how}", aim=aim, samples=samples))
    return of_figures(figures, _WORDS)


PART = Part(name="calls", title="Tool calls with a hundred instances present", measure=_measure)
