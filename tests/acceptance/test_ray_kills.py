"""Kill -9 for each process of Ray, also while it starts and twice in a row: whoever waits for the team has an answer.

TEST_RAY_KILLS=60 carries out so many plans instead of the few that are always carried out; TEST_RAY_KILLS_SEED chooses
others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from actors.home import Home
from actors.processes import is_running
from actors.tmux.server import TmuxServer
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from tests.chaos.ray_kills import Kill, Plan, Strikes, Struck, Victim, plans, table
from tests.projects import make_repository, shell_environment

SEED = int(os.environ.get("TEST_RAY_KILLS_SEED", "20"))
COUNT = int(os.environ.get("TEST_RAY_KILLS", "0"))
LIMIT_S = 20.0
AGENTS = 2
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180 + 60 * COUNT)]
FIRST = Plan(while_starting=True, kills=(Kill(victim=Victim.GCS, after_s=0.3), Kill(victim=Victim.GCS, after_s=1.0)))
FEW = (
    Plan(while_starting=True, kills=(Kill(victim=Victim.WORKER, after_s=0.0),)),
    Plan(while_starting=True, kills=(Kill(victim=Victim.RAYLET, after_s=0.2),)),
    Plan(while_starting=True, kills=(Kill(victim=Victim.ENVIRONMENT_AGENT, after_s=0.1),)),
    Plan(while_starting=False, kills=(Kill(victim=Victim.SUPERVISOR, after_s=0.0),) * 2),
)


@pytest.fixture
def home(make_short_tmp: Callable[[], Path]) -> Iterator[Home]:
    home = Home(make_short_tmp() / "h")
    yield home
    Runtime(home, Settings()).down()


@asynccontextmanager
async def lead_of(home: Home) -> AsyncIterator[Client]:
    """Over an entry, which is a process of its own. Not a fixture: the task that opens it must close it."""
    environment = shell_environment(home, PHALANX_AGENT="demo")
    entry = StdioServerParameters(command=sys.executable, args=["-m", "mcp_entry"], env=environment, cwd=Path.cwd())
    async with Client(stdio_client(entry)) as client:
        yield client


async def test_whatever_of_ray_is_killed_whenever_a_waiting_call_is_answered_soon_and_no_agent_notices(
    home: Home, make_short_tmp: Callable[[], Path]
) -> None:
    runtime = Runtime(home, Settings())
    struck: list[Struck] = []
    async with lead_of(home) as lead:
        strikes = Strikes(home, lead, lambda: runtime.state().kind == "running")
        struck.append(await strikes.carry_out(FIRST))
        repository = make_repository(make_short_tmp() / "project")
        asked = {"role": "specialist", "workDir": str(repository), "context": "hello"}
        spawned = await lead.call_tool("spawn_batch", {"instances": [asked] * AGENTS})
        assert not spawned.is_error, spawned.content
        agents = [psutil.Process(pane.pid) for pane in TmuxServer(home.tmux_socket).agents()]
        assert len(agents) == AGENTS
        for plan in plans(SEED, COUNT) if COUNT else FEW:
            struck.append(await strikes.carry_out(plan))
            print(struck[-1], flush=True)
            assert all(is_running(agent) for agent in agents), plan
        await lead.call_tool("wait", {"timeoutSeconds": LIMIT_S})  # the supervisor may just be adopting them
        listed = await lead.call_tool("list", {})
    assert listed.structured_content is not None
    assert [each["status"] for each in listed.structured_content["instances"]] == ["ready"] * AGENTS
    print(table(struck))
    assert not [str(each) for each in struck if each.refusals or each.longest_s > LIMIT_S]
    assert sum(each.killed for each in struck) >= len(struck) * (0.5 if COUNT else 1.0)
