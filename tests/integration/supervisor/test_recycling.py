"""A long conversation gives way to a fresh one: same id and branch, a summary, and no message lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from actors.errors import AgentError, WrongStateError
from actors.states import Status
from supervisor import requests, results
from tests.integration.supervisor.asking import received
from tests.integration.supervisor.deeds import BUSY, agents, dies, listed, send, settle, spawn, terminate, texts
from tests.integration.supervisor.lives import Life, Team, disagreements
from tests.integration.supervisor.test_crash_points import both, through_all_moments
from tests.launches import command_of


async def recycle(life: Life, instance_id: str) -> results.RecycleResult:
    found = await life.call("recycle", requests.RecycleRequest(instance_id=instance_id))
    return cast("results.RecycleResult", found)


def told_at_start(team: Team, instance_id: str) -> str:
    """The system prompt of its last start."""
    words = command_of(team.home.instance_directory(instance_id))
    return words[words.index("--append-system-prompt") + 1]


async def test_a_fresh_conversation_goes_on_with_the_summary_on_the_same_branch(team: Team) -> None:
    life = await team.first_life()
    instance_id = await spawn(life, team, "the task")
    await settle(life, instance_id)
    before, (old,) = agents(team)[instance_id].pid, [member.record for member in life.supervisor._roll.registry]
    (old.directory / "work.txt").write_text("unsaved")
    done = await recycle(life, instance_id)
    assert (done.status, bool(done.summary)) == (Status.READY, True)
    record = life.supervisor._roll.registry.get(instance_id).record
    assert agents(team)[instance_id].pid != before
    assert (record.workspace, record.session_id != old.session_id) == (old.workspace, True)
    assert (record.directory / "work.txt").exists()
    assert done.summary in told_at_start(team, instance_id)
    assert f"You are {instance_id}" in told_at_start(team, instance_id)
    await send(life, instance_id, "the next task")
    await settle(life, instance_id)
    assert texts(team, instance_id)[-1] == "the next task"
    assert record.transcript_path != old.transcript_path
    page = await life.call("read", requests.ReadRequest(instance_id=instance_id))
    assert [e.text for e in cast("results.ReadResult", page).entries if "the task" in e.text] == []
    assert await disagreements(team, life) == []
    again = await recycle(life, instance_id)
    assert again.status is Status.READY
    await life.call("restart", requests.RestartRequest(instance_id=instance_id))
    assert again.summary in told_at_start(team, instance_id)
    assert (await terminate(life, instance_id)).saved_ref


async def test_who_is_busy_is_not_recycled_and_what_gives_no_summary_goes_on_as_it_is(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await team.first_life()
    busy, other = await spawn(life, team, BUSY), await spawn(life, team, "the task")
    with pytest.raises(WrongStateError, match="wait until it is idle"):
        await recycle(life, busy)
    await settle(life, other)
    monkeypatch.setattr(life.supervisor._recycling, "_last_answer", _nothing)
    pid = agents(team)[other].pid
    with pytest.raises(AgentError, match="goes on as it is"):
        await recycle(life, other)
    assert agents(team)[other].pid == pid


async def _nothing(_instance_id: str) -> str:
    return " "


@pytest.mark.parametrize(
    "rule", [{"PHALANX_RECYCLE_AFTER_TASKS": "3"}, {"PHALANX_RECYCLE_CONTEXT_TOKENS": "1"}], ids=["tasks", "tokens"]
)
async def test_an_instance_that_has_done_enough_is_recycled_by_itself(team: Team, rule: dict[str, str]) -> None:
    life = await team.first_life(**rule)
    instance_id = await spawn(life, team, "the task")
    session = life.supervisor._roll.registry.get(instance_id).record.session_id
    if "PHALANX_RECYCLE_AFTER_TASKS" in rule:
        for number in range(2):
            assert life.supervisor._roll.registry.get(instance_id).record.session_id == session
            await settle(life, instance_id)
            await send(life, instance_id, f"task {number}")
    news, registry = life.supervisor._roll.news, life.supervisor._roll.registry
    assert await news.until(lambda: registry.get(instance_id).record.session_id != session, 20)
    assert await news.until(lambda: registry.get(instance_id).snapshot.status is Status.READY, 20)


@both
async def test_no_message_and_no_instance_is_lost_whenever_the_supervisor_dies_in_a_recycling(
    make_team: Callable[[], Team], actors_die: bool
) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life()
        instance_id = await spawn(life, team, "the task")
        await settle(life, instance_id)
        life.fate.ends_at(moment)
        died = await dies(recycle(life, instance_id))
        calls = life.fate.calls
        life = await team.next_life(actors_die=actors_die)
        assert await disagreements(team, life) == [], calls
        status = (await listed(life))[instance_id].status
        if status in (Status.STOPPED, Status.FAILED):
            assert (await life.call("resume", requests.ResumeRequest())).success, calls
        await asyncio.gather(send(life, instance_id, "afterwards"))
        await settle(life, instance_id)
        # A long paste keeps the newline at its end, as it does in Claude Code.
        prompts = [prompt.rstrip().rpartition("\n")[2] for prompt in received(team.home, instance_id)]
        assert (prompts[0], prompts[-1]) == ("the task", "afterwards"), calls
        assert len(prompts) <= 3, calls
        assert await disagreements(team, life) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 5
