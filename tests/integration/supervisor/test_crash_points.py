"""A supervisor dies just before any of its calls to store, host and actors; the next one finishes or undoes the rest.

Each test goes through all moments of one deed: the life that is to die just before call number 1, then 2, and so on
until the deed is done before its death comes. The deed is then asked for again, as the entry of a lead does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import cast

import pytest

from actors.messages import MessageStatus
from actors.states import Status
from supervisor import requests, results
from tests.integration.supervisor.asking import received, specialist
from tests.integration.supervisor.lives import Killed, Life, Team, disagreements
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


async def dies(deed: Awaitable[object]) -> bool:
    try:
        await deed
    except Killed:
        return True
    return False


async def spawn(life: Life, team: Team, context: str = "the task", request_id: str | None = None) -> str:
    request = specialist(team.repository, context, requestId=request_id)
    return cast("results.SpawnResult", await life.call("spawn", request)).instance_id


async def terminate(life: Life, instance_id: str) -> results.TerminatedInstance:
    (ended,) = (await life.call("terminate", requests.TerminateRequest(instance_id=instance_id))).terminated
    return cast("results.TerminatedInstance", ended)


async def statuses(life: Life) -> dict[str, Status]:
    found = cast("results.ListResult", await life.call("list", requests.ListRequest()))
    return {info.instance_id: info.status for info in found.instances}


both = pytest.mark.parametrize("actors_die", [False, True], ids=["its actors live", "all of Ray dies"])


@both
async def test_a_spawn_is_whole_or_gone_and_the_repeated_call_ends_with_one_instance(
    make_team: Callable[[], Team], actors_die: bool
) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        life.fate.ends_at(moment)
        died = await dies(spawn(life, team, request_id="r1"))
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        assert await disagreements(team, life) == [], calls
        one, other = await asyncio.gather(*(spawn(life, team, request_id="r1") for _ in range(2)))
        assert one == other, calls
        assert list(await statuses(life)) == [one], calls
        (prompt,) = received(team.home, one)
        assert prompt.endswith("the task")
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
        begun = await statuses(life) == {instance_id: Status.STOPPED}
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
        status = (await statuses(life))[instance_id]
        if status in (Status.STOPPED, Status.FAILED):
            assert (await life.call("resume", requests.ResumeRequest())).success, calls
        await life.call("restart", requests.RestartRequest(instance_id=instance_id))
        await life.call("wait", requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=20))
        assert await disagreements(team, life) == [], calls
        prompts = received(team.home, instance_id)
        assert [prompt.rpartition("\n")[2] for prompt in prompts] == ["@@demo busy 60", "afterwards"], calls
        return not died

    assert await through_all_moments(make_team, play) > 5
