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
from tests.integration.supervisor.asking import specialist
from tests.integration.supervisor.deeds import (
    BUSY,
    agents,
    gone,
    kill_agent,
    listed,
    receipt_of,
    send,
    settle,
    spawn,
    texts,
    until,
)
from tests.integration.supervisor.lives import Team, disagreements

both = pytest.mark.parametrize("actors_die", [False, True], ids=["its actors live", "all of Ray dies"])


@both
async def test_who_lives_goes_on_and_everything_is_known(team: Team, actors_die: bool) -> None:
    life = await team.first_life()
    ready = await spawn(life, team, "one", name="reader")
    busy = await spawn(life, team, BUSY)
    stopped, failed = await spawn(life, team), await spawn(life, team, "@@demo crash 9")
    await settle(life, ready, failed)
    await life.call("terminate", requests.TerminateRequest(instance_id=stopped))
    done = await send(life, ready, "two", request_id="r-done")
    await settle(life, ready)
    waiting = await send(life, busy, *(f"number {n}" for n in range(12)), request_id="r-waiting")
    before = agents(team)

    life = await team.next_life(actors_die=actors_die)
    await until(life, ready, Status.READY)
    await until(life, busy, Status.BUSY)
    assert {name: agent.pid for name, agent in agents(team).items()} == {name: a.pid for name, a in before.items()}
    assert await disagreements(team, life) == []
    infos = await listed(life)
    assert [infos[one].status for one in (stopped, failed)] == [Status.STOPPED, Status.FAILED]
    assert "exit status 9" in (infos[failed].reason or "")
    assert (infos[ready].name, infos[busy].queued_messages) == ("reader", 12)
    again = await send(life, ready, "two", request_id="r-done")
    assert [(one.message_id, one.status) for one in again] == [(done[0].message_id, MessageStatus.SUBMITTED)]
    more = await send(life, busy, "the last")
    await life.call("interrupt", requests.InterruptRequest(instance_id=busy))
    await settle(life, busy)
    assert texts(team, busy) == [BUSY, *(f"number {n}" for n in range(12)), "the last"]
    assert texts(team, ready) == ["one", "two"]
    assert {receipt_of(life, one).status for one in [*waiting, *more]} == {MessageStatus.SUBMITTED}
    assert await spawn(life, team) == "spec_0_0_5"


@both
async def test_calls_that_are_repeated_after_a_crash_do_nothing_again_even_two_at_once(
    team: Team, actors_die: bool
) -> None:
    life = await team.first_life()
    first = await spawn(life, team, "the task", requestId="s1")
    sent = await send(life, first, "one", "two", request_id="m1")
    batch = requests.SpawnBatchRequest(
        instances=[specialist(team.repository), specialist(team.repository, workDir="/nowhere")], request_id="b1"
    )
    spawned = cast("results.SpawnBatchResult", await life.call("spawn_batch", batch))

    life = await team.next_life(actors_die=actors_die)
    ones = [spawn(life, team, "the task", requestId="s1") for _ in range(2)]
    sends = [send(life, first, "one", "two", request_id="m1") for _ in range(2)]
    assert await asyncio.gather(*ones) == [first, first]
    for again in await asyncio.gather(*sends):
        assert [one.message_id for one in again] == [one.message_id for one in sent]
    repeated = cast("results.SpawnBatchResult", await life.call("spawn_batch", batch))
    assert [one.instance_id for one in repeated.instances] == [one.instance_id for one in spawned.instances]
    assert [one.success for one in repeated.instances] == [True, False]
    await settle(life, first)
    assert texts(team, first) == ["the task", "one", "two"]
    assert len(await listed(life)) == 2
    with pytest.raises(InvalidRequestError, match="another call"):
        await spawn(life, team, "another task", requestId="s1")
    with pytest.raises(InvalidRequestError, match="another call"):
        await send(life, first, "three", request_id="m1")


@both
async def test_an_agent_that_died_unseen_is_failed_and_its_messages_wait(team: Team, actors_die: bool) -> None:
    life = await team.first_life()
    first, second = await spawn(life, team, BUSY), await spawn(life, team, BUSY)
    await send(life, first, "one", "two")
    (lost,) = await send(life, second, "three")
    await life.kill()
    for one in (first, second):
        kill_agent(team, one)
        await gone(team, one)

    life = await team.next_life(actors_die=actors_die)
    infos = await listed(life)
    for one, queued in ((first, 2), (second, 1)):
        assert (infos[one].status, infos[one].queued_messages) == (Status.FAILED, queued)
        assert "not there to see it" in (infos[one].reason or "")
    assert await disagreements(team, life) == []
    await life.call("terminate", requests.TerminateRequest(instance_id=second))
    found = receipt_of(life, lost)
    assert (found.status, found.reason.startswith("not delivered: ")) == (MessageStatus.FAILED, True)
    resumed = cast("results.ResumeResult", await life.call("resume", requests.ResumeRequest()))
    assert [(one.instance_id, one.resumed, one.error) for one in resumed.instances] == [(first, True, None)]
    await settle(life, first)
    assert texts(team, first) == [BUSY, "one", "two"]
    assert await disagreements(team, life) == []


async def test_nobody_is_there_to_be_resumed_twice(team: Team) -> None:
    life = await team.first_life()
    first = await spawn(life, team)
    await settle(life, first)
    await life.call("shutdown", ShutdownRequest())
    life = await team.next_life(actors_die=True)
    both_at_once = [life.call("resume", requests.ResumeRequest()) for _ in range(2)]
    answers = [cast("results.ResumeResult", answer) for answer in await asyncio.gather(*both_at_once)]
    assert all(answer.success for answer in answers)
    assert sum(one.resumed for answer in answers for one in answer.instances) == 1
    assert cast("results.ResumeResult", await life.call("resume", requests.ResumeRequest())).instances == []
    assert await disagreements(team, life) == []


async def test_messages_wait_over_a_shutdown_and_are_delivered_by_resume(team: Team) -> None:
    life = await team.first_life()
    first = await spawn(life, team, BUSY)
    await send(life, first, "one", "two")
    await life.call("shutdown", ShutdownRequest())
    assert not any(agent.alive for agent in agents(team).values())

    life = await team.next_life(actors_die=True)
    infos = await listed(life)
    assert (infos[first].status, infos[first].queued_messages) == (Status.STOPPED, 2)
    status = cast("results.StatusResult", await life.call("status", StatusRequest()))
    assert status.resumable == [first]
    await life.call("resume", requests.ResumeRequest())
    await settle(life, first)
    assert texts(team, first) == [BUSY, "one", "two"]


@both
async def test_who_is_not_wanted_and_who_belongs_to_nobody_is_ended_and_others_are_not(
    team: Team, actors_die: bool
) -> None:
    life = await team.first_life()
    wanted, unwanted = await spawn(life, team), await spawn(life, team)
    await settle(life, wanted, unwanted)
    await life.supervisor._team.save(unwanted, wanted=False)
    await life.kill()
    server = TmuxServer(team.home.tmux_socket)
    server.open_session("spec_0_0_77", ("sleep", "1000"), team.repository)
    pid = agents(team)[wanted].pid

    life = await team.next_life(actors_die=actors_die)
    assert {name: agent.pid for name, agent in agents(team).items()} == {wanted: pid}
    assert await disagreements(team, life) == []
    infos = await listed(life)
    assert [infos[one].status for one in (wanted, unwanted)] == [Status.READY, Status.STOPPED]


async def test_an_instance_whose_record_cannot_be_read_is_left_alone(team: Team) -> None:
    life = await team.first_life()
    strange = await spawn(life, team)
    await settle(life, strange)
    key = keys.instance(strange)
    whole = (await life.supervisor._store.load(key))[key]
    await life.supervisor._store.save({key: b"\x63" + whole[1:]})
    before = agents(team)[strange]

    life = await team.next_life(actors_die=True)
    status = cast("results.StatusResult", await life.call("status", StatusRequest()))
    assert key in status.warnings[0]
    assert await listed(life) == {}
    other = await spawn(life, team)
    assert other == "spec_0_0_2"
    await life.call("gc", requests.GcRequest())
    assert agents(team)[strange] == before
    assert (team.home.worktrees / strange).is_dir()
    assert team.home.instance_directory(strange).is_dir()
    assert (await life.supervisor._store.load(key))[key] == b"\x63" + whole[1:]
