"""How long an MCP entry takes from its start to the answer to ``initialize``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping

from scripts.benchmarks.figures import Figure

_RUNS = 7
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    },
}


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
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environment)
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the server has no pipes")
        stdin.write(json.dumps(_INITIALIZE).encode() + b"\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        took_ms = (time.perf_counter() - begun) * 1000
        stdin.close()
        stdout.read()
    if "result" not in answer:
        raise RuntimeError(f"initialize was refused: {answer}")
    return took_ms
