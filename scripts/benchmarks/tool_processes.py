"""What the tools of fifty instances cost in processes and memory: one endpoint for all, against a stdio entry for each.

The endpoint, its keeper and the team's socket are the real ones; what answers behind the socket stands in for the
supervisor. No agents run: they are the same in both.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import resource
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from actors.errors import RefusedError
from actors.home import Home
from actors.host.endpoint import TeamEndpoint
from actors.marks import ENDPOINT_MARK
from actors.processes import processes_with
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.processes import pss_mb
from scripts.benchmarks.raw_server import RawServer
from scripts.benchmarks.section import Part, Section
from supervisor.api import results
from supervisor.api.requests import IdentifyRequest, Request, Role
from supervisor.api.verbs import Caller
from supervisor.rpc.server import Gateway

_SIZE = 50
_ANSWER_S = 120.0
_KILLS = 9
_STEADY_S = 11.0
"""One that is killed sooner counts as one that does not start, and the next one waits."""
_WORDS = f"""
{_SIZE} instances: one executive, seven managers, and specialists. Each asks `initialize` and `tools/list` and calls
`list` once: by HTTP with its own token, or over the stdio of a `phalanx-mcp` of its own. The agents themselves are the
same in both, and do not run here. Memory is the sum of the proportional shares (PSS) of these processes, taken while
all of them run: what fifty processes share is counted once. *CPU* is theirs from their start to the last answer.
*after kill -9*: from the kill of the endpoint's process to the answer of a call that is made at once; the CPU is that
of the process that takes its place.
"""
_TOKENS: Mapping[str, Role] = {
    f"token-of-instance-{number:02}-0123456789abcdef": (
        Role.EXECUTIVE if number == 0 else Role.MANAGER if number % 7 == 1 else Role.SPECIALIST
    )
    for number in range(_SIZE)
}


class _Verbs:
    """Knows the tokens, and has a team without instances."""

    async def call(self, verb: str, request: Request, _caller: Caller) -> results.Result:
        if isinstance(request, IdentifyRequest):
            for token, role in _TOKENS.items():
                if hashlib.sha256(token.encode()).hexdigest() == request.token_hash:
                    return results.IdentifyResult(instance_id=token, role=role)
        if verb == "list":
            return results.ListResult(needs_attention=[], counts={}, instances=[])
        raise RefusedError(f"{verb} is not served here.")


@dataclass(frozen=True, slots=True)
class _Cost:
    memory_mb: Sequence[float]
    """Of each process."""
    cpu_s: float


@asynccontextmanager
async def _team(directory: Path) -> AsyncIterator[Home]:
    home = Home(directory / "h")
    home.create()
    gateway = Gateway(home.gateway_socket, _Verbs())
    await gateway.start()
    try:
        yield home
    finally:
        await gateway.stop()


async def _endpoint_costs(bench: Bench, home: Home) -> tuple[_Cost, _Cost, list[float], list[float]]:
    """When it serves its first instance, and when each has called a tool. Then how long a call takes that is made when
    its process has been killed, in s, and the CPU that the next process has used by then."""
    endpoint = TeamEndpoint(home)

    def cost(started_at_s: float) -> _Cost:
        return _cost_of(processes_with(ENDPOINT_MARK, str(home.root)), beside_s=_children_s() - started_at_s)

    try:
        ended_s = _children_s()
        url = await endpoint.ensure()
        first_token, *tokens = _TOKENS
        await asyncio.to_thread(_use, url, first_token)
        first = cost(ended_s)
        for token in tokens:
            await asyncio.to_thread(_use, url, token)
        all_of_them = cost(ended_s)
        bench.say(f"{_KILLS} kills of it")
        took_s, cpu_s = [], []
        for _ in range(_KILLS):
            await asyncio.sleep(_STEADY_S)
            ended_s = _children_s()
            for process in processes_with(ENDPOINT_MARK, str(home.root)):
                process.kill()
            begun = time.perf_counter()
            await asyncio.to_thread(_ask, url, first_token, "tools/call", name="list", arguments={})
            took_s.append(time.perf_counter() - begun)
            cpu_s.append(cost(ended_s).cpu_s)
        return first, all_of_them, took_s, cpu_s
    finally:
        await endpoint.end()


def _children_s() -> float:
    """CPU of the ended children: a process of the endpoint loads all that it needs, then goes on as a child's child."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _use(url: str, token: str) -> None:
    client = {"name": "bench", "version": "1"}
    _ask(url, token, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
    if not _ask(url, token, "tools/list")["tools"]:
        raise RuntimeError("no tools are listed")
    _ask(url, token, "tools/call", name="list", arguments={})


def _ask(url: str, token: str, method: str, **params: Any) -> Any:
    """The result of a request. Raises ``RuntimeError`` when it is refused."""
    at = urlsplit(url)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=_ANSWER_S)
    try:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        connection.request("POST", at.path, json.dumps(message), headers)
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if "result" not in answer or answer["result"].get("isError"):
        raise RuntimeError(f"{method} was refused: {answer}")
    return answer["result"]


def _entries_cost(bench: Bench, home: Home) -> _Cost:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home.root.parent), "PHALANX_HOME": str(home.root)}
    with ExitStack() as stack:
        entries = []
        for number in range(_SIZE):
            if number % 10 == 0:
                bench.say(f"entries {number + 1} to {number + 10}")
            entry = stack.enter_context(RawServer("mcp_entry", environment))
            entry.initialize()
            entry.ready()
            if not entry.ask("tools/list")["tools"]:
                raise RuntimeError("no tools are listed")
            entry.ask("tools/call", name="list", arguments={})
            entries.append(psutil.Process(entry.pid))
        cost = _cost_of(entries)
        for process in entries:  # at once: the stack waits for one after the other
            process.terminate()
        return cost


def _cost_of(processes: Sequence[psutil.Process], *, beside_s: float = 0.0) -> _Cost:
    """``beside_s``: CPU of processes that have ended."""
    times = [process.cpu_times() for process in processes]
    return _Cost([pss_mb(process) for process in processes], beside_s + sum(each.user + each.system for each in times))


async def _measure(bench: Bench) -> Section:
    with bench.scratch() as directory:
        async with _team(directory) as home:
            bench.say(f"one endpoint for {_SIZE}")
            first, endpoint, took_s, cpu_s = await _endpoint_costs(bench, home)
            entries = await asyncio.to_thread(_entries_cost, bench, home)
    memory = [sum(cost.memory_mb) for cost in (first, endpoint, entries)]
    each_kb = (memory[1] - memory[0]) / (_SIZE - 1) * 1000
    return Section(
        columns=("what", "one endpoint", f"{_SIZE} stdio entries", "entries to endpoint"),
        rows=[
            ("processes", str(len(endpoint.memory_mb)), str(len(entries.memory_mb)), f"{_SIZE:.0f}"),
            ("memory", f"{memory[1]:.1f} MB", f"{memory[2]:.0f} MB", f"{memory[2] / memory[1]:.0f}"),
            ("memory for one instance more", f"{each_kb:.0f} kB", f"{memory[2] / _SIZE:.1f} MB", ""),
            (f"a call after kill -9, p50 of {_KILLS}", _p50(took_s, cpu_s), "", ""),
            ("CPU", f"{endpoint.cpu_s:.1f} s", f"{entries.cpu_s:.0f} s", f"{entries.cpu_s / endpoint.cpu_s:.0f}"),
        ],
        words=_WORDS,
        samples={
            "memory of the endpoint with one client, MB": first.memory_mb,
            f"memory of the endpoint with {_SIZE} clients, MB": endpoint.memory_mb,
            "memory of the entries, MB": entries.memory_mb,
            "CPU of the endpoint, of the entries, s": [endpoint.cpu_s, entries.cpu_s],
            "a call after kill -9, s": took_s,
            "CPU of the process that answers it, s": cpu_s,
        },
    )


def _p50(took_s: Sequence[float], cpu_s: Sequence[float]) -> str:
    return f"{statistics.median(took_s):.2f} s, of which CPU {statistics.median(cpu_s):.2f} s"


PART = Part(name="tools", title=f"Tools for {_SIZE} instances", measure=_measure, page="leading")
