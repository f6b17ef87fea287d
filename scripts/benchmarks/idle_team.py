"""What a whole team costs at rest beside its agents, by kind of process, against a Ray alone with as many bare actors.

Both are watched at the same time, so that load affects them alike.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import psutil

from actors.home import Home
from actors.marks import ENDPOINT_MARK, INSTANCE_MARK, TEAM_MARK
from actors.processes import mark_of, processes_with
from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.minimal_ray import BareActors, make_environment
from scripts.benchmarks.processes import exact_cpu_s, pss_mb
from scripts.benchmarks.raw_server import RawServer
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from supervisor.team.file import read_team
from tests.acceptance.team import Team

_SIZE = 10
_SETTLE_S = 15.0
_WATCHED_S = 60.0
AGENTS = "the agents themselves"
_OTHER = "other processes"
_TITLES: Mapping[str, str] = {
    "ray::InstanceServer": "instance actors, that of a spare agent too",
    "ray::_SupervisorServer": "supervisor",
    "ray::_HostServer": "host actor",
    "ray::DashboardAgent": "Ray's agents: dashboard, runtime environments",
    "ray::RuntimeEnvAgent": "Ray's agents: dashboard, runtime environments",
    "ray::IDLE": "Ray's idle workers",
}
"""How the command lines of Ray's workers begin."""
_PROGRAMS: Mapping[str, str] = {
    "gcs_server": "Ray's control store (GCS)",
    "raylet": "raylet",
    "head_wait.py": "Ray's head, which waits",
    "supervisor.ray_processes.fork_server": "fork server of Ray's workers",
    "mcp_entry.web": "endpoint",
    "mcp_entry": "entry",
}
"""Words of a command line, or the last parts of their paths."""
_ACTORS = ("instance actors, that of a spare agent too", "supervisor", "host actor")
_WORDS = f"""
{_SIZE} demo instances at their prompt and one entry that has called, watched for {_WATCHED_S:.0f} s, without Redis.
Memory is the proportional share (PSS), CPU what the kernel counts for all threads; on a busy machine each time that a
thread wakes costs more. *Ray alone*: its processes and as many bare actors as the team has actors, in an environment
with nothing but Ray, watched at the same time.

What bounds memory is Ray: each actor is a worker of Ray with some 20 threads. Its imports are shared, because workers
are forks of one process, and its dashboard's process is left out; its two agents stay, without one of them it ends.
What bounds CPU: each actor wakes fifty times a second for Ray's calls (a quarter of a second each in five threads) and
objects (ten times a second), which no setting changes; that it looks for signals a hundred times a second is what
`actors/resting.py` ends.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    processes: int
    memory_mb: float
    cpu_percent: float
    """Of one core."""


def kind_of(process: psutil.Process, tmux_pid: int) -> str:
    if process.pid == tmux_pid:
        return "tmux server"
    if mark_of(process, INSTANCE_MARK):
        return AGENTS
    words = process.cmdline()
    for title, kind in _TITLES.items():
        if words and words[0].startswith(title):
            return kind
    names = {word.rsplit("/", maxsplit=1)[-1] for word in words[:6]}
    return next((kind for name, kind in _PROGRAMS.items() if name in names), _OTHER)


def processes_by_kind(home: Home, *others: int) -> dict[str, list[psutil.Process]]:
    team = read_team(home)
    if team is None:
        raise RuntimeError("the team has no file")
    marked = [*processes_with(TEAM_MARK, team.team_id), *processes_with(ENDPOINT_MARK, str(home.root))]
    found: dict[str, list[psutil.Process]] = {}
    for process in {*marked, *map(psutil.Process, others)}:
        with suppress(psutil.NoSuchProcess):
            found.setdefault(kind_of(process, team.tmux_pid), []).append(process)
    return found


@asynccontextmanager
async def _resting_team(bench: Bench, team: Team) -> AsyncIterator[dict[str, list[psutil.Process]]]:
    """Inside, all instances are at their prompt, the spares are made and the entry is connected."""
    async with await team.connect() as client:
        batch = await start_batch(client, [team.specialist(agent="demo")] * _SIZE)
        await client.wait(requests.WaitRequest(instance_ids=batch.ids, timeout_seconds=60))
    with ExitStack() as stack:
        entry = stack.enter_context(RawServer("mcp_entry", {**os.environ, **team.environment}))
        entry.initialize()
        entry.ready()
        entry.ask("tools/call", name="list", arguments={})
        bench.say("it comes to rest")
        await asyncio.sleep(_SETTLE_S)
        yield processes_by_kind(team.home, entry.pid)


def _tree_of(actor_pid: int) -> list[psutil.Process]:
    """The processes of the Ray with this actor: what started it, and all below."""
    starter = psutil.Process(actor_pid).parents()[1]
    return [starter, *starter.children(recursive=True)]


async def _watch(groups: Mapping[str, Sequence[psutil.Process]]) -> dict[str, Cost]:
    before = {process: exact_cpu_s(process) for group in groups.values() for process in group}
    await asyncio.sleep(_WATCHED_S)
    found = {}
    for kind, group in groups.items():
        left = [process for process in group if process.is_running()]
        used = sum(exact_cpu_s(process) - before[process] for process in left)
        found[kind] = Cost(
            processes=len(left),
            memory_mb=sum(map(pss_mb, left)),
            cpu_percent=used / _WATCHED_S * 100,
        )
    return found


async def _measure(bench: Bench) -> Section:
    with bench.scratch() as directory:
        python = await asyncio.to_thread(make_environment, directory / "env")
        async with (
            bench.team(PHALANX_AGENT="demo") as team,
            _resting_team(bench, team) as ours,
            BareActors.begun(python, directory / "r") as bare,
        ):
            count = sum(len(ours.get(kind, ())) for kind in _ACTORS)
            await bare.make(count)
            alone = _tree_of((await bare.pids())[0])
            await asyncio.sleep(_SETTLE_S)
            bench.say("a team of ten and a Ray alone, at rest")
            costs = await _watch({**ours, "bare": alone})
    return _section(costs, count)


def _section(costs: dict[str, Cost], actors: int) -> Section:
    bare, agents = costs.pop("bare"), costs.pop(AGENTS)
    whole = Cost(
        processes=sum(cost.processes for cost in costs.values()),
        memory_mb=sum(cost.memory_mb for cost in costs.values()),
        cpu_percent=sum(cost.cpu_percent for cost in costs.values()),
    )
    kinds = sorted(costs, key=lambda kind: -costs[kind].memory_mb)
    named = [*((kind, costs[kind]) for kind in kinds), ("**the team beside its agents**", whole)]
    named += [(f"Ray alone with {actors} bare actors", bare), (AGENTS, agents)]
    return Section(
        columns=("what", "processes", "memory", "CPU, of one core"),
        rows=[*map(_row, named), _ratio(whole, bare), ("aim", "", "≤ 650 MB", "≤ 4 %")],
        words=_WORDS,
    )


def _row(named: tuple[str, Cost]) -> tuple[str, ...]:
    what, cost = named
    return (what, str(cost.processes), f"{cost.memory_mb:.0f} MB", f"{cost.cpu_percent:.2f} %")


def _ratio(ours: Cost, bare: Cost) -> tuple[str, ...]:
    memory, cpu = ours.memory_mb / bare.memory_mb, ours.cpu_percent / bare.cpu_percent
    return ("the team to Ray alone", "", f"{memory:.2f}", f"{cpu:.2f}")


PART = Part(name="rest", title="A team of ten at rest", measure=_measure)
