"""A supervisor dies just before any of its calls to store, host and actors; the next one finishes or undoes the rest.

Each test goes through all moments of one deed: the life that is to die just before call number 1, then 2, and so on
until the deed is done before its death comes. The deed is then asked for again, as the entry of a lead does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import cast

import pytest

from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.server import TmuxServer
from supervisor.api import requests, results
from supervisor.api.requests import ShutdownRequest, StatusRequest
from supervisor.team.registry import InstanceStage
from tests.integration.supervisor.asking import received
from tests.integration.supervisor.deeds import (
    BUSY,
    agents,
    dies,
    gone,
    kill_agent,
    listed,
    receipt_of,
    send,
    settle,
    spawn,
    terminate,
    texts,
)
from tests.integration.supervisor.lives import Life, Team, disagreements
from tests.projects import git

AT_ONCE = 4
ENOUGH = 40
Play = Callable[[Team, int], Coroutine[None, None, bool]]
"""Lets a life die at this call of the deed and looks at the next one; whether the deed was done before."""


async def through_all_moments(make_team: Callable[[], Team], play: Play) -> int:
    """Every moment has a team of its own, a few at once. Returns how many calls the deed takes."""
    for first in range(1, ENOUGH, AT_ONCE):
        moments = range(first, first + AT_ONCE)
        done = await asyncio.gather(*(play(make_team(), moment) for moment in moments))
        if any(done):
            assert list(done) == sorted(done)
            return first + done.index(True) - 1
    pytest.fail("no deed takes so many calls")


def _statuses(infos: Mapping[str, results.InstanceInfo]) -> dict[str, Status]:
    return {instance_id: info.status for instance_id, info in infos.items()}


async def agreed(team: Team, life: Life) -> bool:
    """Once the pool has cleared away what cannot be given to anybody."""
    for _ in range(200):
        if not await disagreements(team, life):
            return True
        await asyncio.sleep(0.05)
    return False


both = pytest.mark.parametrize("actors_die", [False, True], ids=["its actors live", "all of Ray dies"])


@both
async def test_a_spawn_is_whole_or_gone_and_the_repeated_call_ends_with_one_instance(
    make_team: Callable[[], Team], actors_die: bool
) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        life.fate.ends_at(moment)
        died = await dies(spawn(life, team, "the task", requestId="r1"))
        calls = life.fate.calls
        told_its_task = not died or calls[:-1].count("save") >= 3
        before, in_doubt = agents(team), moment % 2 == 0
        life = await team.next_life(actors_die=actors_die, compared=not in_doubt)
        assert in_doubt or await disagreements(team, life) == [], calls
        one, other = await asyncio.gather(*(spawn(life, team, "the task", requestId="r1") for _ in range(2)))
        assert one == other, calls
        assert not told_its_task or agents(team) == before, calls
        assert list(_statuses(await listed(life))) == [one], calls
        (prompt,) = received(team.home, one)
        assert prompt.endswith("the task")
        await life.compared()
        assert await disagreements(team, life) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 8


@both
async def test_a_termination_is_finished_and_loses_no_work(make_team: Callable[[], Team], actors_die: bool) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        instance_id = await spawn(life, team, "@@demo busy 60")
        worktree = team.home.worktrees / instance_id
        (worktree / "unsaved.txt").write_text("work")
        sent = await life.call(
            "send", requests.SendRequest(instance_id=instance_id, message="too late", request_id="s")
        )
        life.fate.ends_at(moment)
        died = await dies(terminate(life, instance_id))
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        assert await disagreements(team, life) == [], calls
        begun = _statuses(await listed(life)) == {instance_id: Status.STOPPED}
        assert begun or moment == 1, calls
        if not begun:
            await terminate(life, instance_id)
        assert git(team.repository, "show", f"refs/phalanx/saved/{instance_id}:unsaved.txt") == "work"
        assert not worktree.exists()
        again = await life.call(
            "send", requests.SendRequest(instance_id=instance_id, message="too late", request_id="s")
        )
        assert (again.message_id, again.status) == (sent.message_id, MessageStatus.FAILED), calls
        assert len(received(team.home, instance_id)) == 1
        return not died

    assert await through_all_moments(make_team, play) > 5


async def test_a_termination_of_one_that_had_stopped_is_finished_too(make_team: Callable[[], Team]) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        instance_id = await spawn(life, team, BUSY)
        (sent,) = await send(life, instance_id, "too late")
        await life.call("shutdown", ShutdownRequest())
        life.fate.ends_at(moment)
        died = await dies(terminate(life, instance_id))
        calls = life.fate.calls
        life = await team.next_life(actors_die=True)
        begun = moment > 1
        assert (receipt_of(life, sent).status is MessageStatus.FAILED) is begun, calls
        assert (team.home.worktrees / instance_id).exists() is not begun
        status = cast("results.StatusResult", await life.call("status", StatusRequest()))
        assert status.resumable == ([] if begun else [instance_id])
        assert await disagreements(team, life) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 3


@both
async def test_a_restart_goes_on_or_can_be_repeated_with_its_conversation_and_messages(
    make_team: Callable[[], Team], actors_die: bool
) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        instance_id = await spawn(life, team, "@@demo busy 60")
        await life.call("send", requests.SendRequest(instance_id=instance_id, message="afterwards"))
        life.fate.ends_at(moment)
        died = await dies(life.call("restart", requests.RestartRequest(instance_id=instance_id)))
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        assert await disagreements(team, life) == [], calls
        status = (_statuses(await listed(life)))[instance_id]
        if status in (Status.STOPPED, Status.FAILED):
            assert (await life.call("resume", requests.ResumeRequest())).success, calls
        await life.call("restart", requests.RestartRequest(instance_id=instance_id))
        await life.call("wait", requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=20))
        assert await disagreements(team, life) == [], calls
        prompts = received(team.home, instance_id)
        assert [prompt.rpartition("\n")[2] for prompt in prompts] == ["@@demo busy 60", "afterwards"], calls
        return not died

    assert await through_all_moments(make_team, play) > 5


@both
async def test_messages_arrive_once_and_in_order_whenever_the_supervisor_dies(
    make_team: Callable[[], Team], actors_die: bool
) -> None:
    wanted = [f"number {n}" for n in range(15)]

    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        instance_id = await spawn(life, team)
        await settle(life, instance_id)
        life.fate.ends_at(moment)

        async def deed() -> None:
            await send(life, instance_id, *wanted, request_id="r1")
            await settle(life, instance_id)

        died = await dies(deed())
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        first, second = await asyncio.gather(*(send(life, instance_id, *wanted, request_id="r1") for _ in range(2)))
        assert [one.message_id for one in first] == [one.message_id for one in second], calls
        await send(life, instance_id, "the last")
        await settle(life, instance_id)
        assert texts(team, instance_id) == ["hello", *wanted, "the last"], calls
        assert {receipt_of(life, one).status for one in first} == {MessageStatus.SUBMITTED}, calls
        assert await disagreements(team, life) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 3


async def test_a_recovery_that_is_cut_off_is_gone_on_with_by_the_next(make_team: Callable[[], Team]) -> None:
    """One to adopt, one to finish, one to note the end of, one that is half made, one that is nobody's."""

    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        alive, unwanted, dead, half = await asyncio.gather(*(spawn(life, team, BUSY) for _ in range(4)))
        (waiting,) = await send(life, alive, "afterwards")
        await life.supervisor._team.save(unwanted, wanted=False)
        await life.supervisor._team.save(half, stage=InstanceStage.STARTING, pid=1)
        await life.kill()
        kill_agent(team, dead)
        await gone(team, dead)
        TmuxServer(team.home.tmux_socket).open_session("spec_0_0_77", ("sleep", "1000"), team.repository)
        pid = agents(team)[alive].pid
        actors_die = moment % 2 == 0
        if actors_die:
            await team.actors.die()
        life = await team.live()
        life.fate.ends_at(moment)
        died = await dies(life.until_compared())
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        assert await disagreements(team, life) == [], calls
        assert agents(team)[alive].pid == pid
        assert set(agents(team)) - {dead} == {alive}
        found = _statuses(await listed(life))
        assert (found[unwanted], found[dead]) == (Status.STOPPED, Status.FAILED), calls
        assert half not in found
        assert receipt_of(life, waiting).status is MessageStatus.ACCEPTED
        return not died

    assert await through_all_moments(make_team, play) > 8


@both
async def test_a_spare_becomes_one_instance_or_goes_whenever_the_supervisor_dies_in_a_spawn(
    make_team: Callable[[], Team], actors_die: bool
) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        await life.call("prewarm_resources", requests.PrewarmRequest(instances=1, work_dir=str(team.repository)))
        (spare,) = life.supervisor._team.registry.spares()
        life.fate.ends_at(moment)
        died = await dies(spawn(life, team, "the task", requestId="r1"))
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        assert await agreed(team, life), calls
        one, other = await asyncio.gather(*(spawn(life, team, "the task", requestId="r1") for _ in range(2)))
        assert one == other, calls
        assert list(_statuses(await listed(life))) == [one], calls
        record = life.supervisor._team.registry.get(one).record
        assert record.pid != spare.record.pid or record.spare == spare.record.instance_id, calls
        (prompt,) = received(team.home, record.place)
        assert prompt.endswith("the task"), calls
        await life.compared()
        await life.call("prewarm_resources", requests.PrewarmRequest(instances=0, work_dir=str(team.repository)))
        assert await life.supervisor._team.changes.until(lambda: not life.supervisor._team.registry.spares(), 20), calls
        assert await agreed(team, life), calls
        return not died

    assert await through_all_moments(make_team, play) > 4
