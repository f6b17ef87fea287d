"""How long an MCP entry takes from its start to the answer to ``initialize``."""

from __future__ import annotations

import time
from collections.abc import Mapping

from scripts.benchmarks.figures import Figure
from scripts.benchmarks.raw_server import RawServer

_RUNS = 7


def measure(environment: Mapping[str, str]) -> Figure:
    """Pairs of starts, ours and a bare server in turn, after one of each that does not count."""
    ours, bare = [], []
    for run in range(_RUNS + 1):
        our_ms = _start_ms("mcp_entry", environment)
        bare_ms = _start_ms("scripts.benchmarks.bare_server", environment)
        if run:
            ours.append(our_ms)
            bare.append(bare_ms)
    return Figure(
        what="entry: start to `initialize` answered; floor: a bare SDK server with one tool",
        aim="≤ 1.3",
        samples=ours,
        floor=bare,
    )


def _start_ms(module: str, environment: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    with RawServer(module, environment) as server:
        server.initialize()
        return (time.perf_counter() - begun) * 1000
