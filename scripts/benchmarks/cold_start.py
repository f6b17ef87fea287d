"""A cold batch of fifty demo agents against its floor: fifty bare actors and fifty bare tmux sessions, all together."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
import uuid
from pathlib import Path

from actors.agents.base import Composer
from actors.agents.claude_screen import read_screen
from actors.agents.demo.agent import DEMO_PROGRAM
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.minimal_ray import BareActors, make_environment
from scripts.benchmarks.section import Part, Section
from tests.acceptance.team import Team

_SIZE = 50
_RUNS = 3
_LOOK_S = 0.02
_BARE, _AGENT = "cat", "the demo agent"
_WORDS = """
Fifty agents that start at once, with the spawn cap raised to fifty, from the call to the proof of the last first
message; the floor is fifty actors of a Ray with nothing beside it and fifty tmux sessions, made at the same time. In
the first row the sessions run `cat`; in the second the same demo agent, until its input box is visible. What stands
above the floor: a worktree and a branch for each, its first message typed and proved, and a record of each step.
"""


async def _team_s(team: Team) -> float:
    async with await team.connect() as client:
        return (await start_batch(client, [team.specialist(agent="demo")] * _SIZE)).took_s


async def _floor_s(bare: BareActors, socket: Path, *, with_agents: bool) -> float:
    server = TmuxServer(socket)
    server.start(os.environ)
    try:
        begun = time.perf_counter()
        await asyncio.gather(bare.make(_SIZE), _sessions(server, socket, with_agents=with_agents))
        return time.perf_counter() - begun
    finally:
        server.stop()


async def _sessions(server: TmuxServer, socket: Path, *, with_agents: bool) -> None:
    """Returns when all sessions are there, with agents when each shows its input box."""
    panes = []
    for _ in range(_SIZE):
        name = f"bare-{uuid.uuid4().hex[:8]}"
        command = _demo_command(socket.parent / name) if with_agents else ["cat"]
        info = await asyncio.to_thread(server.open_session, name, command, socket.parent)
        panes.append(Pane(TmuxClient(socket), info.pane_id))
    if with_agents:
        while panes:
            await asyncio.sleep(_LOOK_S)
            panes = [pane for pane in panes if not await _is_ready(pane)]


async def _is_ready(pane: Pane) -> bool:
    return read_screen(await pane.capture(styled=True)).composer is not Composer.ABSENT


def _demo_command(directory: Path) -> list[str]:
    directory.mkdir()
    program = [sys.executable, "-I", "-S", str(DEMO_PROGRAM), "--session-id", str(uuid.uuid4())]
    return ["env", f"PHALANX_DEMO_DIRECTORY={directory}", *program]


async def _measure(bench: Bench) -> Section:
    ours: list[float] = []
    floors: dict[str, list[float]] = {_BARE: [], _AGENT: []}
    with bench.scratch() as directory:
        bench.say("making an environment with Ray alone")
        python = await asyncio.to_thread(make_environment, directory / "ray")
        for run in range(_RUNS):
            bench.say(f"{_SIZE} cold instances and their floors, run {run + 1} of {_RUNS}")
            async with bench.team(PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS=str(_SIZE)) as team:
                ours.append(await _team_s(team))
            for name, floor in floors.items():
                async with BareActors.begun(python, directory / "t") as bare:
                    floor.append(await _floor_s(bare, directory / "s", with_agents=name == _AGENT))
    rows = [_row(name, ours, floor, "≤ 1.2" if name == _BARE else "") for name, floor in floors.items()]
    samples = {"batch of 50, s": ours} | {f"floor with {name}, s": floor for name, floor in floors.items()}
    return Section(
        columns=("floor's sessions run", "batch of 50", "floor", "ratio", "aim"),
        rows=rows,
        words=_WORDS,
        samples=samples,
    )


def _row(name: str, ours: list[float], floor: list[float], aim: str) -> tuple[str, ...]:
    ratio = statistics.median(a / b for a, b in zip(ours, floor, strict=True))
    return (name, f"{statistics.median(ours):.1f} s", f"{statistics.median(floor):.1f} s", f"{ratio:.2f}", aim)


PART = Part(name="cold", title="Fifty cold starts against the floor", measure=_measure)
