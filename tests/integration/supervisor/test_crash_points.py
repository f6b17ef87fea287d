"""A supervisor dies just before any of its calls to store, host and actors; the next one finishes or undoes the rest.

Each test goes through all moments of one call: the run that is to die just before call number 1, then 2, and so on
until the call is done before its death comes. The call is then asked for again, as the entry of a lead does.
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
from tests.integration.supervisor.calls import (
    BUSY,
    agents,
    gone,
    is_killed,
    kill_agent,
    listed,
    receipt_of,
    received,
    send,
    settle,
    spawn,
    terminate,
    texts,
)
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements
from tests.projects import git

pytestmark = pytest.mark.kills

AT_ONCE = 4
ENOUGH = 40
Play = Callable[[RestartableTeam, int], Coroutine[None, None, bool]]
"""Lets a run die at this call of the call and looks at the next one; whether the call was done before."""


async def through_all_moments(make_team: Callable[[], RestartableTeam], play: Play) -> int:
    """Every moment has a team of its own, a few at once. Returns how many calls the call takes."""
    for first in range(1, ENOUGH, AT_ONCE):
        moments = range(first, first + AT_ONCE)
        done = await asyncio.gather(*(play(make_team(), moment) for moment in moments))
        if any(done):
            assert list(done) == sorted(done)
            return first + done.index(True) - 1
    pytest.fail("no call takes so many calls")


def _statuses(infos: Mapping[str, results.InstanceInfo]) -> dict[str, Status]:
    return {instance_id: info.status for instance_id, info in infos.items()}


async def agreed(team: RestartableTeam, run: SupervisorRun) -> bool:
    """Once the pool has cleared away what cannot be given to anybody."""
    for _ in range(200):
        if not await disagreements(team, run):
            return True
        await asyncio.sleep(0.05)
    return False


def at_two_of_four(moment: int) -> bool:
    """Two in a row, because whatever else alternates does so from one moment to the next."""
    return moment // 2 % 2 == 0


def at_the_other_two(moment: int) -> bool:
    return not at_two_of_four(moment)


both = pytest.mark.parametrize(
    "actors_die",
    [at_two_of_four, pytest.param(at_the_other_two, marks=pytest.mark.long)],
    ids=["all of Ray dies at two of four moments", "all of Ray dies at the other two"],
)
"""Either all of Ray dies with the supervisor, or its actors live."""


@both
async def test_a_spawn_is_whole_or_gone_and_the_repeated_call_ends_with_one_instance(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        run.kill_switch.kill_at(moment)
        died = await is_killed(spawn(run, team, "the task", requestId="r1"))
        calls = run.kill_switch.calls
        told_its_task = not died or calls[:-1].count("save") >= 3
        before, in_doubt = agents(team), moment % 2 == 0
        run = await team.restart(actors_die=actors_die(moment), compared=not in_doubt)
        assert in_doubt or await disagreements(team, run) == [], calls
        one, other = await asyncio.gather(*(spawn(run, team, "the task", requestId="r1") for _ in range(2)))
        assert one == other, calls
        assert not told_its_task or agents(team) == before, calls
        assert list(_statuses(await listed(run))) == [one], calls
        (prompt,) = received(team.home, one)
        assert prompt.endswith("the task")
        await run.compared()
        assert await disagreements(team, run) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 8


@both
async def test_a_start_without_a_message_is_whole_or_gone_and_the_repeated_call_ends_with_one_instance(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        lead = requests.SpawnRequest(
            role=requests.Role.EXECUTIVE,
            work_dir=str(team.repository),
            context="",
            workspace_mode="shared",
            name="lead",
            request_id="r1",
        )
        run.kill_switch.kill_at(moment)
        died = await is_killed(run.call("spawn", lead))
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die(moment))
        assert await disagreements(team, run) == [], calls
        spawned = await run.call("spawn", lead)
        assert _statuses(await listed(run)) == {spawned.instance_id: Status.READY}, calls
        await terminate(run, "lead")
        return not died

    assert await through_all_moments(make_team, play) > 5


async def test_a_worktree_is_prepared_once_and_what_was_cut_off_there_is_undone(
    make_team: Callable[[], RestartableTeam],
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        (team.repository / "notes").write_text("not committed\n")
        run = await team.start_compared()
        prepared = requests.SpawnRequest(
            role=requests.Role.SPECIALIST,
            work_dir=str(team.repository),
            context="the task",
            prepare=requests.Preparation(copy=["notes"], setup="echo once >> built"),
            request_id="r1",
        )
        run.kill_switch.kill_at(moment)
        died = await is_killed(run.call("spawn", prepared))
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=True)
        assert await disagreements(team, run) == [], calls
        spawned = await run.call("spawn", prepared)
        assert list(_statuses(await listed(run))) == [spawned.instance_id], calls
        worktree = team.home.worktrees / spawned.instance_id
        assert (worktree / "built").read_text() == "once\n", calls
        assert (worktree / "notes").read_text() == "not committed\n", calls
        return not died

    assert await through_all_moments(make_team, play) > 9


@both
async def test_a_termination_is_finished_and_loses_no_work(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        instance_id = await spawn(run, team, "@@demo busy 60")
        worktree = team.home.worktrees / instance_id
        (worktree / "unsaved.txt").write_text("work")
        sent = await run.call("send", requests.SendRequest(instance_id=instance_id, message="too late", request_id="s"))
        run.kill_switch.kill_at(moment)
        died = await is_killed(terminate(run, instance_id))
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die(moment))
        assert await disagreements(team, run) == [], calls
        begun = _statuses(await listed(run)) == {instance_id: Status.STOPPED}
        assert begun or moment == 1, calls
        if not begun:
            await terminate(run, instance_id)
        assert git(team.repository, "show", f"refs/phalanx/saved/{instance_id}:unsaved.txt") == "work"
        assert not worktree.exists()
        again = await run.call(
            "send", requests.SendRequest(instance_id=instance_id, message="too late", request_id="s")
        )
        assert (again.message_id, again.status) == (sent.message_id, MessageStatus.FAILED), calls
        assert len(received(team.home, instance_id)) == 1
        return not died

    assert await through_all_moments(make_team, play) > 5


async def test_a_termination_of_one_that_had_stopped_is_finished_too(make_team: Callable[[], RestartableTeam]) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        instance_id = await spawn(run, team, BUSY)
        (sent,) = await send(run, instance_id, "too late")
        await run.call("shutdown", ShutdownRequest())
        run.kill_switch.kill_at(moment)
        died = await is_killed(terminate(run, instance_id))
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=True)
        begun = moment > 1
        assert (receipt_of(run, sent).status is MessageStatus.FAILED) is begun, calls
        assert (team.home.worktrees / instance_id).exists() is not begun
        status = cast("results.StatusResult", await run.call("status", StatusRequest()))
        assert status.resumable == ([] if begun else [instance_id])
        assert await disagreements(team, run) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 3


@both
async def test_a_restart_goes_on_or_can_be_repeated_with_its_conversation_and_messages(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        instance_id = await spawn(run, team, "@@demo busy 60")
        await run.call("send", requests.SendRequest(instance_id=instance_id, message="afterwards"))
        run.kill_switch.kill_at(moment)
        died = await is_killed(run.call("restart", requests.RestartRequest(instance_id=instance_id)))
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die(moment))
        assert await disagreements(team, run) == [], calls
        status = (_statuses(await listed(run)))[instance_id]
        if status in (Status.STOPPED, Status.FAILED):
            assert (await run.call("resume", requests.ResumeRequest())).success, calls
        await run.call("restart", requests.RestartRequest(instance_id=instance_id))
        await run.call("wait", requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=20))
        assert await disagreements(team, run) == [], calls
        prompts = received(team.home, instance_id)
        assert [prompt.rpartition("\n")[2] for prompt in prompts] == ["@@demo busy 60", "afterwards"], calls
        return not died

    assert await through_all_moments(make_team, play) > 5


@both
async def test_messages_arrive_once_and_in_order_whenever_the_supervisor_dies(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    wanted = [f"number {n}" for n in range(15)]

    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        instance_id = await spawn(run, team)
        await settle(run, instance_id)
        run.kill_switch.kill_at(moment)

        async def call() -> None:
            await send(run, instance_id, *wanted, request_id="r1")
            await settle(run, instance_id)

        died = await is_killed(call())
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die(moment))
        first, second = await asyncio.gather(*(send(run, instance_id, *wanted, request_id="r1") for _ in range(2)))
        assert [one.message_id for one in first] == [one.message_id for one in second], calls
        await send(run, instance_id, "the last")
        await settle(run, instance_id)
        assert texts(team, instance_id) == ["hello", *wanted, "the last"], calls
        assert {receipt_of(run, one).status for one in first} == {MessageStatus.SUBMITTED}, calls
        assert await disagreements(team, run) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 3


async def test_a_recovery_that_is_cut_off_is_gone_on_with_by_the_next(make_team: Callable[[], RestartableTeam]) -> None:
    """One to adopt, one to finish, one to note the end of, one that is half made, one that is nobody's."""

    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        alive, unwanted, dead, half = await asyncio.gather(*(spawn(run, team, BUSY) for _ in range(4)))
        (waiting,) = await send(run, alive, "afterwards")
        await run.team.save(unwanted, wanted=False)
        await run.team.save(half, stage=InstanceStage.STARTING, pid=1)
        await run.kill()
        kill_agent(team, dead)
        await gone(team, dead)
        TmuxServer(team.home.tmux_socket).open_session("spec_0_0_77", ("sleep", "1000"), team.repository)
        pid = agents(team)[alive].pid
        actors_die = moment % 2 == 0
        if actors_die:
            await team.actors.die()
        run = await team.start()
        run.kill_switch.kill_at(moment)
        died = await is_killed(run.until_compared())
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die)
        assert await disagreements(team, run) == [], calls
        assert agents(team)[alive].pid == pid
        assert set(agents(team)) - {dead} == {alive}
        found = _statuses(await listed(run))
        assert (found[unwanted], found[dead]) == (Status.STOPPED, Status.FAILED), calls
        assert half not in found
        assert receipt_of(run, waiting).status is MessageStatus.ACCEPTED
        return not died

    assert await through_all_moments(make_team, play) > 8


@both
async def test_a_spare_becomes_one_instance_or_goes_whenever_the_supervisor_dies_in_a_spawn(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        await run.call("prewarm_resources", requests.PrewarmRequest(instances=1, work_dir=str(team.repository)))
        (spare,) = run.team.registry.spares()
        run.kill_switch.kill_at(moment)
        died = await is_killed(spawn(run, team, "the task", requestId="r1"))
        calls = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die(moment))
        assert await agreed(team, run), calls
        one, other = await asyncio.gather(*(spawn(run, team, "the task", requestId="r1") for _ in range(2)))
        assert one == other, calls
        assert list(_statuses(await listed(run))) == [one], calls
        record = run.team.registry.get(one).record
        assert record.pid != spare.record.pid or record.spare == spare.record.instance_id, calls
        (prompt,) = received(team.home, record.place)
        assert prompt.endswith("the task"), calls
        await run.compared()
        await run.call("prewarm_resources", requests.PrewarmRequest(instances=0, work_dir=str(team.repository)))
        assert await run.team.changes.until(lambda: not run.team.registry.spares(), 20), calls
        assert await agreed(team, run), calls
        return not died

    assert await through_all_moments(make_team, play) > 4
