"""Real Claudes whose tmux server dies, and a machine that goes down: they come back with their conversations."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.marks import TEAM_MARK
from actors.processes import end_processes, is_running, processes_with
from actors.tmux.server import TmuxServer
from supervisor.api import requests
from supervisor.api.results import InstanceInfo
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import read_team
from tests.acceptance.team import Team, bring_up
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

pytestmark = [pytest.mark.kills, pytest.mark.real_claude, pytest.mark.timeout(240)]
BACK_S = 90.0
"""Generous: two cores of a busy machine."""
_POLL_S = 0.2


@pytest.fixture(params=["report"])
async def team(
    request: pytest.FixtureRequest, make_short_tmp: Callable[[], Path], claude_command: Path, api: ApiStandIn
) -> AsyncIterator[Team]:
    """The parameter is its ``on_agent_failure``."""
    directory = make_short_tmp()
    environment = {
        "PHALANX_CLAUDE_COMMAND": str(claude_command),
        "PHALANX_ON_AGENT_FAILURE": request.param,
        **standin_environment(api.url, make_claude_home(directory / "user")),
    }
    made = await asyncio.to_thread(lambda: bring_up(directory, **environment))
    yield made
    await asyncio.to_thread(made.runtime.down)


async def spawned(client: SupervisorClient, team: Team, count: int) -> list[str]:
    found = [await client.spawn(team.specialist(f"the first task of {number}")) for number in range(count)]
    ids = [one.instance_id for one in found]
    await client.wait(requests.WaitRequest(instance_ids=ids, timeout_seconds=BACK_S))
    return ids


async def all_ready(client: SupervisorClient) -> list[InstanceInfo]:
    infos: list[InstanceInfo] = []
    async with asyncio.timeout(BACK_S):
        while True:
            infos = list((await client.list(requests.ListRequest())).instances)
            if all(info.status == "ready" and not info.queued_messages for info in infos):
                return infos
            await asyncio.sleep(_POLL_S)


def agents_of(team: Team) -> dict[str, psutil.Process]:
    found = TmuxServer(team.home.tmux_socket).agents()
    return {agent.session_name: psutil.Process(agent.pid) for agent in found if agent.alive}


async def questions(client: SupervisorClient, instance_id: str) -> list[str]:
    page = await client.read(requests.ReadRequest(instance_id=instance_id, lines=100))
    return [entry.text.rpartition("\n")[2] for entry in page.entries if entry.kind == "question"]


async def tell_all(client: SupervisorClient, ids: Sequence[str], text: str) -> None:
    for instance_id in ids:
        sent = await client.send(requests.SendRequest(instance_id=instance_id, message=text, wait=True))
        assert sent.status == "submitted", sent
    await client.wait(requests.WaitRequest(instance_ids=list(ids), timeout_seconds=BACK_S))


async def check_conversations(client: SupervisorClient, ids: Sequence[str], told: Sequence[str]) -> None:
    """Each goes on with what it was told, once, and takes more."""
    await tell_all(client, ids, "go on")
    for number, instance_id in enumerate(ids):
        assert await questions(client, instance_id) == [f"the first task of {number}", *told, "go on"]


async def until_other_agents(team: Team, ids: Sequence[str], before: Mapping[str, psutil.Process]) -> None:
    async with asyncio.timeout(BACK_S):
        while True:
            now = agents_of(team)
            if all(one in now and now[one] != before[one] for one in ids):
                return
            await asyncio.sleep(_POLL_S)


@pytest.mark.parametrize("team", ["resume"], indirect=True)
async def test_agents_whose_tmux_server_is_killed_come_back_by_themselves_with_their_conversations(team: Team) -> None:
    async with await team.connect() as client:
        ids = await spawned(client, team, 2)
        await tell_all(client, ids, "remember 42")
        before = agents_of(team)

        server = psutil.Process(TmuxServer(team.home.tmux_socket).pid())
        server.kill()
        await asyncio.to_thread(server.wait, BACK_S)  # one that is just ending breaks off whoever asks it
        await until_other_agents(team, ids, before)
        await all_ready(client)

        await check_conversations(client, ids, ["remember 42"])
        assert agents_of(team).keys() == before.keys()
        assert not any(is_running(process) for process in before.values())


def phalanx(team: Team, *words: str) -> Any:
    command = [sys.executable, "-c", "from mcp_entry.cli.app import main; main()", *words, "--json"]
    checkout = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, env=dict(team.environment), cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def go_down_with_the_machine(team: Team) -> None:
    """Every process ends at once; sockets, pid files and locks stay where they are."""
    known = read_team(team.home)
    assert known is not None
    ending = [*processes_with(TEAM_MARK, known.team_id), *agents_of(team).values()]
    while ending:  # what was just being started was not seen yet
        assert end_processes(ending, 0) == []
        ending = [process for process in processes_with(TEAM_MARK, known.team_id) if is_running(process)]
    assert team.home.tmux_socket.is_socket()
    assert team.home.gateway_socket.is_socket()
    assert team.home.team_file.exists()


async def test_after_a_reboot_up_offers_the_team_and_with_resume_brings_it_back_with_its_conversations(
    team: Team,
) -> None:
    async with await team.connect() as client:
        ids = await spawned(client, team, 2)
        await tell_all(client, ids, "before the reboot")
        await client.read(requests.ReadRequest(instance_id=ids[0]))
    worktree = team.home.worktrees / ids[0]
    (worktree / "unsaved.txt").write_text("work")
    await asyncio.to_thread(go_down_with_the_machine, team)

    offered = await asyncio.to_thread(phalanx, team, "up")
    assert (offered["alreadyRunning"], sorted(offered["resumable"])) == (False, sorted(ids))
    assert agents_of(team) == {}
    up = await asyncio.to_thread(phalanx, team, "up", "--resume")

    assert [(one["instanceId"], one["resumed"]) for one in up["resumed"]] == [(one, True) for one in ids]
    async with await team.connect() as client:
        back = {info.instance_id: info for info in await all_ready(client)}
        assert sorted(back) == sorted(ids)
        assert back[ids[0]].unread == 0
        assert back[ids[1]].unread > 0
        await check_conversations(client, ids, ["before the reboot"])
    assert len(agents_of(team)) == 2
    assert (worktree / "unsaved.txt").read_text() == "work"
