"""The worker processes of a real team's Ray: forks of one process, which may end at any time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import actors.instance.instance
from actors.home import Home
from actors.processes import is_running
from supervisor.api.requests import SendRequest
from supervisor.ray_processes.worker import SERVER
from tests.acceptance.team import Team, anew, bring_up
from tests.processes import called, command_of, ends, of_ray, tell

pytestmark = pytest.mark.timeout(240)
ACTORS = ("ray::_SupervisorServer", "ray::_HostServer", "ray::InstanceServer")


@pytest.fixture(scope="module")
def shared_team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def team(shared_team: Team) -> Team:
    return await anew(shared_team)


def fork_servers(home: Home) -> list[psutil.Process]:
    return [each for each in of_ray(home) if SERVER in command_of(each)]


def actors_of(home: Home) -> list[psutil.Process]:
    return [each for title in ACTORS for each in called(of_ray(home), title)]


async def test_all_actors_are_forks_of_one_process_below_the_raylet_and_share_most_of_their_memory(team: Team) -> None:
    async with await team.connect() as client:
        await client.spawn(team.specialist("hello"))

        (server,) = fork_servers(team.home)
        assert server.ppid() == called(of_ray(team.home), "raylet")[0].pid
        found = actors_of(team.home)
        assert len(found) >= len(ACTORS)
        assert {each.ppid() for each in found} == {server.pid}
        for each in called(found, "ray::InstanceServer"):
            memory = each.memory_full_info()
            assert memory.uss < memory.rss / 2, each


async def test_the_workers_outlive_the_fork_server_and_the_next_one_finds_another(team: Team) -> None:
    async with await team.connect() as client:
        first = await client.spawn(team.specialist("hello"))
        (server,) = fork_servers(team.home)
        before = actors_of(team.home)

        tell([server])
        assert ends(server.pid)
        second = await client.spawn(team.specialist("hello again"))

        assert all(is_running(each) for each in before)
        assert [each.pid for each in fork_servers(team.home)] != [server.pid]
        for one in (first, second):
            sent = await client.send(SendRequest(instance_id=one.instance_id, message="after", wait=True))
            assert sent.status == "submitted"


async def test_a_worker_has_the_code_that_is_installed_when_it_starts(team: Team) -> None:
    async with await team.connect() as client:
        await client.spawn(team.specialist("hello"))
        (server,) = fork_servers(team.home)

        os.utime(actors.instance.instance.__file__)
        async with asyncio.timeout(60):
            while is_running(server):  # idle workers are of the code before
                await client.spawn(team.specialist("hello again"))

        (newer,) = fork_servers(team.home)
        assert newer.pid != server.pid


async def test_the_fork_server_ends_with_its_raylet(team: Team) -> None:
    (server,) = fork_servers(team.home)

    tell(called(of_ray(team.home), "raylet"))

    assert ends(server.pid)
