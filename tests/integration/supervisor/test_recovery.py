"""A supervisor is killed and the next one takes over: with its actors, or after all of Ray has died."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from actors.errors import InvalidRequestError
from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.server import TmuxServer
from supervisor.api import requests, results
from supervisor.api.requests import ShutdownRequest, StatusRequest
from supervisor.store import keys
from tests.integration.supervisor.calls import (
    BUSY,
    PATIENCE_S,
    agents,
    gone,
    kill_agent,
    listed,
    receipt_of,
    send,
    settle,
    spawn,
    specialist,
    texts,
    until,
)
from tests.integration.supervisor.runs import LEAD, RestartableTeam, disagreements

both = pytest.mark.parametrize("actors_die", [False, True], ids=["its actors live", "all of Ray dies"])


@both
async def test_who_lives_goes_on_and_everything_is_known(team: RestartableTeam, actors_die: bool) -> None:
    run = await team.start_compared()
    ready = await spawn(run, team, "one", name="reader")
    busy = await spawn(run, team, BUSY)
    stopped, failed = await spawn(run, team), await spawn(run, team, "@@demo crash 9")
    await settle(run, ready, failed)
    await run.call("terminate", requests.TerminateRequest(instance_id=stopped))
    done = await send(run, ready, "two", request_id="r-done")
    await settle(run, ready)
    waiting = await send(run, busy, *(f"number {n}" for n in range(12)), request_id="r-waiting")
    before = agents(team)

    run = await team.restart(actors_die=actors_die)
    await until(run, ready, Status.READY)
    await until(run, busy, Status.BUSY)
    assert {name: agent.pid for name, agent in agents(team).items()} == {name: a.pid for name, a in before.items()}
    assert await disagreements(team, run) == []
    infos = await listed(run)
    assert [infos[one].status for one in (stopped, failed)] == [Status.STOPPED, Status.FAILED]
    assert "exit status 9" in (infos[failed].reason or "")
    assert (infos[ready].name, infos[busy].queued_messages) == ("reader", 12)
    again = await send(run, ready, "two", request_id="r-done")
    assert [(one.message_id, one.status) for one in again] == [(done[0].message_id, MessageStatus.SUBMITTED)]
    more = await send(run, busy, "the last")
    await run.call("interrupt", requests.InterruptRequest(instance_id=busy))
    await settle(run, busy)
    assert texts(team, busy) == [BUSY, *(f"number {n}" for n in range(12)), "the last"]
    assert texts(team, ready) == ["one", "two"]
    assert {receipt_of(run, one).status for one in [*waiting, *more]} == {MessageStatus.SUBMITTED}
    assert await spawn(run, team) == "spec_0_0_5"


@both
async def test_calls_that_are_repeated_after_a_crash_do_nothing_again_even_two_at_once(
    team: RestartableTeam, actors_die: bool
) -> None:
    run = await team.start_compared()
    first = await spawn(run, team, "the task", requestId="s1")
    sent = await send(run, first, "one", "two", request_id="m1")
    batch = requests.SpawnBatchRequest(
        instances=[specialist(team.repository), specialist(team.repository, workDir="/nowhere")], request_id="b1"
    )
    spawned = cast("results.SpawnBatchResult", await run.call("spawn_batch", batch))

    run = await team.restart(actors_die=actors_die)
    ones = [spawn(run, team, "the task", requestId="s1") for _ in range(2)]
    sends = [send(run, first, "one", "two", request_id="m1") for _ in range(2)]
    assert await asyncio.gather(*ones) == [first, first]
    for again in await asyncio.gather(*sends):
        assert [one.message_id for one in again] == [one.message_id for one in sent]
    repeated = cast("results.SpawnBatchResult", await run.call("spawn_batch", batch))
    assert [one.instance_id for one in repeated.instances] == [one.instance_id for one in spawned.instances]
    assert [one.success for one in repeated.instances] == [True, False]
    await settle(run, first)
    assert texts(team, first) == ["the task", "one", "two"]
    assert len(await listed(run)) == 2
    with pytest.raises(InvalidRequestError, match="another call"):
        await spawn(run, team, "another task", requestId="s1")
    with pytest.raises(InvalidRequestError, match="another call"):
        await send(run, first, "three", request_id="m1")


@both
async def test_an_agent_that_died_unseen_is_failed_and_its_messages_wait(
    team: RestartableTeam, actors_die: bool
) -> None:
    run = await team.start_compared()
    first, second = await spawn(run, team, BUSY), await spawn(run, team, BUSY)
    await send(run, first, "one", "two")
    (lost,) = await send(run, second, "three")
    await run.kill()
    for one in (first, second):
        kill_agent(team, one)
        await gone(team, one)

    run = await team.restart(actors_die=actors_die)
    infos = await listed(run)
    for one, queued in ((first, 2), (second, 1)):
        assert (infos[one].status, infos[one].queued_messages) == (Status.FAILED, queued)
        assert "not there to see it" in (infos[one].reason or "")
    assert await disagreements(team, run) == []
    await run.call("terminate", requests.TerminateRequest(instance_id=second))
    found = receipt_of(run, lost)
    assert (found.status, found.reason.startswith("not delivered: ")) == (MessageStatus.FAILED, True)
    resumed = cast("results.ResumeResult", await run.call("resume", requests.ResumeRequest()))
    assert [(one.instance_id, one.resumed, one.error) for one in resumed.instances] == [(first, True, None)]
    await settle(run, first)
    assert texts(team, first) == [BUSY, "one", "two"]
    assert await disagreements(team, run) == []


async def test_nobody_is_there_to_be_resumed_twice(team: RestartableTeam) -> None:
    run = await team.start_compared()
    first = await spawn(run, team)
    await settle(run, first)
    await run.call("shutdown", ShutdownRequest())
    run = await team.restart(actors_die=True)
    both_at_once = [run.call("resume", requests.ResumeRequest()) for _ in range(2)]
    answers = [cast("results.ResumeResult", answer) for answer in await asyncio.gather(*both_at_once)]
    assert all(answer.success for answer in answers)
    assert sum(one.resumed for answer in answers for one in answer.instances) == 1
    assert cast("results.ResumeResult", await run.call("resume", requests.ResumeRequest())).instances == []
    assert await disagreements(team, run) == []


async def test_what_a_resume_has_begun_is_done_to_its_end_when_the_caller_goes_away(team: RestartableTeam) -> None:
    run = await team.start_compared()
    ids = [await spawn(run, team) for _ in range(3)]
    await settle(run, *ids)
    await run.call("shutdown", ShutdownRequest())
    run = await team.restart(actors_die=True)

    def is_ready(instance_id: str) -> bool:
        return run.team.registry.get(instance_id).snapshot.status is Status.READY

    call = run.begin(run.supervisor.call("resume", requests.ResumeRequest(), LEAD))
    assert await run.team.changes.until(lambda: any(agent.alive for agent in agents(team).values()), PATIENCE_S)
    call.cancel()
    assert await run.team.changes.until(lambda: all(map(is_ready, ids)), 20.0)  # before the team is compared anew
    assert await disagreements(team, run) == []


async def test_messages_wait_over_a_shutdown_and_are_delivered_by_resume(team: RestartableTeam) -> None:
    run = await team.start_compared()
    first = await spawn(run, team, BUSY)
    await send(run, first, "one", "two")
    await run.call("shutdown", ShutdownRequest())
    assert not any(agent.alive for agent in agents(team).values())

    run = await team.restart(actors_die=True)
    infos = await listed(run)
    assert (infos[first].status, infos[first].queued_messages) == (Status.STOPPED, 2)
    status = cast("results.StatusResult", await run.call("status", StatusRequest()))
    assert status.resumable == [first]
    await run.call("resume", requests.ResumeRequest())
    await settle(run, first)
    assert texts(team, first) == [BUSY, "one", "two"]


@both
async def test_who_is_not_wanted_and_who_belongs_to_nobody_is_ended_and_others_are_not(
    team: RestartableTeam, actors_die: bool
) -> None:
    run = await team.start_compared()
    wanted, unwanted = await spawn(run, team), await spawn(run, team)
    await settle(run, wanted, unwanted)
    await run.team.save(unwanted, wanted=False)
    await run.kill()
    server = TmuxServer(team.home.tmux_socket)
    server.open_session("spec_0_0_77", ("sleep", "1000"), team.repository)
    pid = agents(team)[wanted].pid

    run = await team.restart(actors_die=actors_die)
    assert {name: agent.pid for name, agent in agents(team).items()} == {wanted: pid}
    assert await disagreements(team, run) == []
    infos = await listed(run)
    assert [infos[one].status for one in (wanted, unwanted)] == [Status.READY, Status.STOPPED]


async def test_an_instance_whose_record_cannot_be_read_is_left_alone(team: RestartableTeam) -> None:
    run = await team.start_compared()
    strange = await spawn(run, team)
    await settle(run, strange)
    key = keys.instance(strange)
    whole = (await run.supervisor._store.load(key))[key]
    await run.supervisor._store.save({key: b"\x63" + whole[1:]})
    before = agents(team)[strange]

    run = await team.restart(actors_die=True)
    status = cast("results.StatusResult", await run.call("status", StatusRequest()))
    assert key in status.warnings[0]
    assert await listed(run) == {}
    other = await spawn(run, team)
    assert other == "spec_0_0_2"
    await run.call("gc", requests.GcRequest())
    assert agents(team)[strange] == before
    assert (team.home.worktrees / strange).is_dir()
    assert team.home.instance_directory(strange).is_dir()
    assert (await run.supervisor._store.load(key))[key] == b"\x63" + whole[1:]


async def test_agents_live_on_without_their_socket_and_what_is_sent_meanwhile_arrives_once_it_is_back(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    first = await spawn(run, team)
    await settle(run, first)
    before = agents(team)
    team.home.tmux_socket.unlink()
    (sent,) = await send(run, first, "while it is away")
    assert await run.recovery.reconcile()
    await settle(run, first)
    assert receipt_of(run, sent).status is MessageStatus.SUBMITTED
    assert texts(team, first) == ["hello", "while it is away"]
    assert agents(team) == before
    assert await disagreements(team, run) == []


async def test_a_supervisor_and_actors_that_come_back_meanwhile_adopt_the_agents_all_the_same(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    first = await spawn(run, team)
    await settle(run, first)
    before = agents(team)
    await run.kill()
    await team.actors.die()
    team.home.tmux_socket.unlink()
    run = await team.start_compared()
    (sent,) = await send(run, first, "afterwards")
    await settle(run, first)
    assert receipt_of(run, sent).status is MessageStatus.SUBMITTED
    assert agents(team) == before
    assert await disagreements(team, run) == []
