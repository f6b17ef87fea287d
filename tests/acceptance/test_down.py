"""A team that is brought down while it is at work: nothing of it is alive afterwards, and it comes back as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.errors import PhalanxError
from actors.marks import TEAM_MARK
from actors.processes import processes_with
from supervisor.api.requests import ListRequest, ReadRequest, StatusRequest, WaitRequest
from supervisor.api.results import SpawnResult
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import read_team
from tests.acceptance.team import Team, bring_up
from tests.projects import git

pytestmark = pytest.mark.timeout(240)
SPAWNS = 10
BEGUN_S = 30.0
UNDER_WAY = "The team is being brought down: nothing is started any more"


@pytest.fixture
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo", PHALANX_DEMO_START_S="1")
    yield team
    team.runtime.down(lambda step: None)


async def spawned(client: SupervisorClient, team: Team, number: int) -> SpawnResult | PhalanxError:
    try:
        return await client.spawn(team.specialist(f"hello {number}"))
    except PhalanxError as error:
        return error


async def test_a_worktree_that_is_just_being_made_goes_with_its_spawn_when_the_team_goes_down(team: Team) -> None:
    begun = team.repository.parent / "begun"
    hook = team.repository / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{begun}'\nsleep 2\n")
    hook.chmod(0o755)
    async with await team.connect() as client:
        calls = [asyncio.create_task(spawned(client, team, number)) for number in range(2)]
        async with asyncio.timeout(BEGUN_S):
            while not begun.exists():  # noqa: ASYNC110 - a hook tells nobody
                await asyncio.sleep(0.02)

        await asyncio.to_thread(team.runtime.down)

        outcomes = await asyncio.gather(*calls)
    assert all(UNDER_WAY in str(each) for each in outcomes), outcomes
    assert list(team.home.worktrees.iterdir()) == []
    assert list(team.home.instances.iterdir()) == []
    assert git(team.repository, "branch", "--list", "phalanx/*") == ""


@pytest.mark.parametrize("after_s", [0.3, pytest.param(1.5, marks=pytest.mark.long)])
async def test_spawns_that_are_under_way_are_undone_and_nothing_is_alive_after_down(team: Team, after_s: float) -> None:
    known = read_team(team.home)
    assert known is not None
    async with await team.connect() as client:
        before = await client.spawn(team.specialist("who was there"))
        calls = [asyncio.create_task(spawned(client, team, number)) for number in range(SPAWNS)]
        await asyncio.sleep(after_s)

        report = await asyncio.to_thread(team.runtime.down)

        outcomes = await asyncio.gather(*calls)
    assert processes_with(TEAM_MARK, known.team_id) == []
    refused = [str(each) for each in outcomes if isinstance(each, PhalanxError)]
    assert refused, "down came too late to hit a spawn"
    assert all(UNDER_WAY in words for words in refused), refused
    assert report.notes == ()

    await asyncio.to_thread(team.runtime.up, team.environment)
    async with await team.connect() as client:
        await client.status(StatusRequest(compared=True))
        listed = await client.list(ListRequest())
    there = {before.instance_id, *(each.instance_id for each in outcomes if isinstance(each, SpawnResult))}
    assert {each.instance_id for each in listed.instances if each.status != "stopped"} == set()
    assert {path.name for path in team.home.instances.iterdir()} == there
    assert {path.name for path in team.home.worktrees.iterdir()} == there


async def test_what_was_asked_and_what_nobody_has_read_is_still_known_of_those_who_ended_with_the_team(
    team: Team,
) -> None:
    async with await team.connect() as client:
        ids = [(await client.spawn(team.specialist(f"task {number}"))).instance_id for number in range(2)]
        await client.wait(WaitRequest(instance_ids=ids))
        before = {each.instance_id: each for each in (await client.list(ListRequest())).instances}
    assert [(before[each].task, before[each].unread) for each in ids] == [("task 0", 1), ("task 1", 1)]

    await _down_and_up(team)

    async with await team.connect() as client:
        after = {each.instance_id: each for each in (await client.list(ListRequest())).instances}
        assert [after[each].status for each in ids] == ["stopped", "stopped"]
        for name in ("task", "unread", "activity", "activity_at", "model", "context_tokens", "context_window"):
            assert [getattr(after[each], name) for each in ids] == [getattr(before[each], name) for each in ids], name
        await client.read(ReadRequest(instance_id=ids[0]))

    await _down_and_up(team)

    async with await team.connect() as client:
        again = {each.instance_id: each for each in (await client.list(ListRequest())).instances}
    assert [again[each].unread for each in ids] == [0, 1]


async def _down_and_up(team: Team) -> None:
    await asyncio.to_thread(team.runtime.down)
    await asyncio.to_thread(team.runtime.up, team.environment)
