"""Figures, tuning and alerts of a whole team, over the client, the command line and the official MCP client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from actors.tmux.server import TmuxServer
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, anew, bring_up

pytestmark = pytest.mark.timeout(300)
IGNORED = {"machine"}
"""What else runs on the machine of the tests is no fault of the team."""


@pytest.fixture(scope="module")
def one_team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS="4")
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def team(one_team: Team) -> Team:
    return await anew(one_team)


def phalanx(team: Team, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", "from mcp_entry.cli.app import main; main()", *arguments, "--json"]
    ended = subprocess.run(
        command, env=dict(team.environment), capture_output=True, text=True, timeout=60, check=True, cwd=Path.cwd()
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def exit_status(team: Team, *arguments: str) -> int:
    """Long before the time of a ``wait`` has run out."""
    command = [sys.executable, "-c", "from mcp_entry.cli.app import main; main()", *arguments]
    return subprocess.run(command, env=dict(team.environment), timeout=60, check=False, cwd=Path.cwd()).returncode


async def test_an_idle_healthy_team_has_a_hundred_points(team: Team, client: SupervisorClient) -> None:
    spawned = await client.spawn(team.specialist())
    await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    seen = await client.get_performance(requests.GetPerformanceRequest())
    ours = [alert for alert in seen.performance.alerts if alert.category not in IGNORED]
    assert ours == []
    assert seen.performance.score == 100 - sum(lost.points for lost in seen.performance.lost)
    assert seen.metrics.spawns.total >= 1


async def test_who_waits_for_a_decision_and_what_is_held_behind_it_cost_points_and_what_is_ended_on_purpose_does_not(
    team: Team, client: SupervisorClient
) -> None:
    spawned = await client.spawn(team.specialist('@@demo dialog Bash {"command": "make"}'))
    await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention"))
    messages = [requests.BatchMessage(instance_id=spawned.instance_id, message=f"note {n}") for n in range(3)]
    sent = await client.send_batch(requests.SendBatchRequest(messages=messages, wait=True))
    assert {str(each.status) for each in sent.results} == {"blocked"}
    assert await asyncio.to_thread(exit_status, team, "wait", spawned.instance_id) == 3
    assert await asyncio.to_thread(exit_status, team, "send", spawned.instance_id, "and?", "--wait") == 3

    seen = (await client.get_performance(requests.GetPerformanceRequest())).performance
    assert seen.score < 100
    assert {"decisions", "messages-held"} <= {alert.code for alert in seen.alerts}
    reasons = " ".join(lost.reason for lost in seen.lost)
    assert f"{spawned.instance_id} (Bash)" in reasons
    assert "4 messages for 1 instance are held back" in reasons

    await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    after = (await client.get_performance(requests.GetPerformanceRequest())).performance
    assert [alert.code for alert in after.alerts if alert.category not in IGNORED] == []


async def test_what_was_tuned_survives_a_killed_supervisor_and_down_and_up_which_say_so(team: Team) -> None:
    changed = phalanx(team, "tune", "--spawns", "10", "--batch-delay", "50")
    assert (changed["oldSettings"]["maxConcurrentSpawns"], changed["newSettings"]["maxConcurrentSpawns"]) == (4, 10)
    async with await team.connect() as client:
        os.kill((await client.status()).supervisor_pid, signal.SIGKILL)
        again = await client.get_performance(requests.GetPerformanceRequest())
        assert (again.queues.spawn.limit, again.settings.message_batch_delay) == (10, 50)
        spawns = again.metrics.spawns.total
        spawned = await client.spawn(team.specialist())
        await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    await asyncio.to_thread(team.runtime.down, lambda step: None)
    assert "max_concurrent_spawns = 10" in phalanx(team, "up")["changedSettings"]
    seen = phalanx(team, "perf")
    assert (seen["queues"]["spawn"]["limit"], seen["settings"]["messageBatchDelay"]) == (10, 50)
    assert seen["metrics"]["spawns"]["total"] == spawns + 1
    assert phalanx(team, "tune", "--reset")["newSettings"]["maxConcurrentSpawns"] == 4


async def test_trouble_reaches_a_lead_as_a_log_message_and_its_tools_say_the_same(
    team: Team, client: SupervisorClient
) -> None:
    spawned = await client.spawn(team.specialist())
    (agent,) = TmuxServer(team.home.tmux_socket).agents()
    os.kill(agent.pid, signal.SIGKILL)
    request = requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention")
    assert (await client.wait(request)).reached
    await _hears(team)


async def _hears(team: Team) -> None:
    got: asyncio.Queue[types.LoggingMessageNotificationParams] = asyncio.Queue()

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        got.put_nowait(params)

    entry = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_entry"], env=dict(team.environment), cwd=Path.cwd()
    )
    async with Client(stdio_client(entry), mode="legacy", logging_callback=log) as lead:
        seen = (await lead.call_tool("get_performance", {})).structured_content or {}
        assert seen["performance"]["score"] < 100
        async with asyncio.timeout(20):
            while (message := await got.get()).data["alert"]["code"] != "instances-failed":
                pass
    assert message.level == "warning"
    assert "1 instance has failed" in message.data["alert"]["message"]
