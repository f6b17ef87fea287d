"""What an idle team's actors cost and how soon they answer, with the real Ray; see ``actors.resting``."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import psutil
import pytest

from actors.marks import TEAM_MARK
from actors.processes import processes_with
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import read_team
from tests.acceptance.team import Team

pytestmark = pytest.mark.timeout(300)
TITLES = ("ray::InstanceServer", "ray::_HostServer", "ray::_SupervisorServer")
FEW = 30
"""In a second. Ray alone wakes a main thread a hundred times."""
PATIENCE_S = 60.0
QUIET_S = 1.5
"""After it an actor rests."""


def actors_of(team: Team) -> dict[str, list[int]]:
    found = read_team(team.home)
    assert found is not None
    pids: dict[str, list[int]] = {}
    for process in processes_with(TEAM_MARK, found.team_id):
        name = process.cmdline()[0]
        for title in TITLES:
            if name.startswith(title):
                pids.setdefault(title, []).append(process.pid)
    return pids


def doors_of(team: Team) -> set[str]:
    return {path.name for path in team.home.ray_directory.glob("instance-*")}


def wakes(pid: int) -> int:
    """How often the main thread has woken so far."""
    for line in Path(f"/proc/{pid}/task/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not count")


async def wakes_in_a_second(pids: list[int]) -> int:
    before = [wakes(pid) for pid in pids]
    await asyncio.sleep(1)
    return max(wakes(pid) - earlier for pid, earlier in zip(pids, before, strict=True))


async def test_the_actors_of_an_idle_team_rest_and_answer_at_once(demo_team: Team, demo: SupervisorClient) -> None:
    spawned = await demo.spawn(demo_team.specialist(agent="demo"))
    await demo.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))

    actors = actors_of(demo_team)
    assert set(actors) == set(TITLES)
    deadline = time.monotonic() + PATIENCE_S
    while max((seen := {title: await wakes_in_a_second(pids) for title, pids in actors.items()}).values()) > FEW:
        assert time.monotonic() < deadline, seen
        actors = actors_of(demo_team)

    took_s = []
    for _ in range(5):
        await asyncio.sleep(QUIET_S)
        begun = time.monotonic()
        await demo.screen(requests.ScreenRequest(instance_id=spawned.instance_id))
        took_s.append(time.monotonic() - begun)
    assert statistics.median(took_s) < 0.1, took_s


async def test_an_instance_that_was_terminated_leaves_nothing_where_its_actor_was_woken(
    demo_team: Team, demo: SupervisorClient
) -> None:
    spawned = await demo.spawn(demo_team.specialist(agent="demo"))
    await demo.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    deadline = time.monotonic() + PATIENCE_S
    while len(there := doors_of(demo_team)) < len(actors_of(demo_team)["ray::InstanceServer"]):
        assert time.monotonic() < deadline, "not all rest"
        await asyncio.sleep(QUIET_S)

    await demo.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))

    while not there - doors_of(demo_team):
        assert time.monotonic() < deadline, doors_of(demo_team)
        await asyncio.sleep(0.1)


async def test_a_resting_actor_that_was_killed_comes_back_and_takes_messages(
    demo_team: Team, demo: SupervisorClient
) -> None:
    spawned = await demo.spawn(demo_team.specialist(agent="demo"))
    await demo.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    before = actors_of(demo_team)["ray::InstanceServer"]
    await asyncio.sleep(QUIET_S)

    for pid in before:
        psutil.Process(pid).kill()

    async with asyncio.timeout(PATIENCE_S):
        sent = await demo.send(requests.SendRequest(instance_id=spawned.instance_id, message="again", wait=True))
    assert sent.status == "submitted"
