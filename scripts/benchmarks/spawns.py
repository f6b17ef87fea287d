"""One real Claude: from the call of ``spawn`` to the proof of its first message, against the bare program."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

from actors.agents.base import Composer
from actors.agents.claude_screen import read_screen
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from scripts.benchmarks.figures import Figure
from supervisor.api import requests
from tests.acceptance.team import Team

_RUNS = 7
_POLL_S = 0.01


async def measure(team: Team, claude: Path, socket: Path) -> Figure:
    """Pairs in turn: ours, then the bare program in a bare tmux session until its input box is visible."""
    ours, bare = [], []
    server = TmuxServer(socket)
    server.start(team.environment)
    try:
        async with await team.connect() as client:
            for run in range(_RUNS + 1):
                begun = time.perf_counter()
                spawned = await client.spawn(team.specialist())
                took_ms = (time.perf_counter() - begun) * 1000
                await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
                await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
                floor_ms = await _bare_ms(server, TmuxClient(socket), claude, Path(spawned.working_directory).parent)
                if run:
                    ours.append(took_ms)
                    bare.append(floor_ms)
    finally:
        server.stop()
    return Figure(
        what="spawn of one Claude, call to proof; floor: the bare program until its input box is visible",
        aim="≤ 1.3",
        samples=ours,
        floor=bare,
    )


async def _bare_ms(server: TmuxServer, tmux: TmuxClient, claude: Path, directory: Path) -> float:
    begun = time.perf_counter()
    name = f"bare-{uuid.uuid4().hex[:8]}"
    info = server.open_session(name, [str(claude), "--session-id", str(uuid.uuid4())], directory)
    pane = Pane(tmux, info.pane_id)
    while read_screen(await pane.capture(styled=True)).composer is Composer.ABSENT:
        if time.perf_counter() - begun > 60:
            raise RuntimeError("the bare program did not show its input box")
        await asyncio.sleep(_POLL_S)
    took_ms = (time.perf_counter() - begun) * 1000
    server.close_session(name)
    return took_ms
