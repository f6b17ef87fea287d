"""A long conversation gives way to a fresh one: same id and branch, a summary, and no message lost or doubled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from actors.agents.base import EntryKind
from actors.agents.catalog import AgentCatalog
from actors.errors import AgentError, PhalanxError, WrongStateError
from actors.instance.transcript import PageQuery, read_page
from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from supervisor.api import requests, results
from supervisor.team import recycling
from supervisor.team.recycling import ASK
from tests.integration.supervisor.calls import (
    BUSY,
    PATIENCE_S,
    agents,
    is_killed,
    kill_agent,
    listed,
    receipt_of,
    send,
    settle,
    spawn,
    terminate,
    texts,
)
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements
from tests.integration.supervisor.test_crash_points import both, through_all_moments
from tests.launches import command_of

pytestmark = pytest.mark.kills


async def recycle(run: SupervisorRun, instance_id: str) -> results.RecycleResult:
    found = await run.call("recycle", requests.RecycleRequest(instance_id=instance_id))
    return cast("results.RecycleResult", found)


def told_at_start(team: RestartableTeam, instance_id: str) -> str:
    """The system prompt of its last start."""
    words = command_of(team.home.instance_directory(instance_id))
    return words[words.index("--append-system-prompt") + 1]


async def test_a_fresh_conversation_goes_on_with_the_summary_on_the_same_branch(team: RestartableTeam) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "the task")
    await settle(run, instance_id)
    before, (old,) = agents(team)[instance_id].pid, [member.record for member in run.team.registry]
    (old.directory / "work.txt").write_text("unsaved")
    done = await recycle(run, instance_id)
    assert (done.status, bool(done.summary)) == (Status.READY, True)
    record = run.team.registry.get(instance_id).record
    assert agents(team)[instance_id].pid != before
    assert (record.workspace, record.session_id != old.session_id) == (old.workspace, True)
    assert (record.directory / "work.txt").exists()
    assert done.summary in told_at_start(team, instance_id)
    assert f"You are {instance_id}" in told_at_start(team, instance_id)
    await send(run, instance_id, "the next task")
    await settle(run, instance_id)
    assert texts(team, instance_id)[-1] == "the next task"
    assert record.transcript_path != old.transcript_path
    page = await run.call("read", requests.ReadRequest(instance_id=instance_id))
    assert [e.text for e in cast("results.ReadResult", page).entries if "the task" in e.text] == []
    assert await disagreements(team, run) == []
    again = await recycle(run, instance_id)
    assert again.status is Status.READY
    await run.call("restart", requests.RestartRequest(instance_id=instance_id))
    assert again.summary in told_at_start(team, instance_id)
    assert (await terminate(run, instance_id)).saved_ref


async def test_who_is_busy_is_not_recycled(team: RestartableTeam) -> None:
    run = await team.start_compared()
    busy = await spawn(run, team, BUSY)
    with pytest.raises(WrongStateError, match="wait until it is idle"):
        await recycle(run, busy)


async def send_until(
    done: asyncio.Task[object], run: SupervisorRun, instance_id: str, name: str
) -> list[results.SendResult]:
    """Begins when the instance is at work."""
    member = run.team.registry.get(instance_id)
    await run.team.changes.until(lambda: member.status is Status.BUSY or done.done(), PATIENCE_S)
    sent: list[results.SendResult] = []
    while not done.done():
        sent += await send(run, instance_id, f"{name} {len(sent)}")
        await asyncio.sleep(0.02)
    return sent


def conversations(run: SupervisorRun, instance_id: str, *before: str) -> list[list[str]]:
    """What was said to it: in the conversations ``before`` (their transcripts), then in the one that goes on."""
    path = run.team.registry.get(instance_id).record.transcript_path
    agent = AgentCatalog(claude_command="no-such-claude", python=sys.executable).named("demo")
    pages = [read_page(agent, Path(one), PageQuery(cursor=None, limit=10_000)) for one in (*before, path)]
    return [[shown.entry.text for shown in page.entries if shown.entry.kind is EntryKind.QUESTION] for page in pages]


async def test_what_is_sent_while_it_gives_its_summary_is_said_to_the_fresh_conversation_alone(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "the task")
    for number in range(4):
        await settle(run, instance_id)
        old = run.team.registry.get(instance_id).record.transcript_path
        done = asyncio.create_task(recycle(run, instance_id))
        sent = await asyncio.gather(*(send_until(done, run, instance_id, f"{number} {name}") for name in "abc"))
        await done
        await settle(run, instance_id)
        before, now = conversations(run, instance_id, old)
        assert ASK in before[-1]
        said = [line for prompt in now for line in prompt.splitlines()]
        every = [one for some in sent for one in some]
        assert len(every) > 9
        assert {one.success for one in every} == {True}
        assert {receipt_of(run, one).status for one in every} == {MessageStatus.SUBMITTED}
        for sender, some in zip("abc", sent, strict=True):
            assert [line for line in said if line.startswith(f"{number} {sender}")] == [
                f"{number} {sender} {n}" for n in range(len(some))
            ]


async def dies_meanwhile(_run: SupervisorRun, team: RestartableTeam, instance_id: str) -> None:
    kill_agent(team, instance_id)


async def is_interrupted(run: SupervisorRun, _team: RestartableTeam, instance_id: str) -> None:
    await run.call("interrupt", requests.InterruptRequest(instance_id=instance_id))


async def is_left_alone(_run: SupervisorRun, _team: RestartableTeam, _instance_id: str) -> None:
    """What it was asked for is enough."""


@pytest.mark.parametrize(
    ("ask", "meanwhile", "why"),
    [
        ("@@demo fail api", is_left_alone, "failed: API Error: 500"),
        ("@@demo fail rate_limit", is_left_alone, "429"),
        ("@@demo never-answer", is_interrupted, "without an answer"),
        ("@@demo never-answer", is_left_alone, "lasts longer than 2 s"),
        ('@@demo dialog Bash {"command": "ls"}', is_left_alone, "waiting_permission"),
        ("@@demo never-answer", dies_meanwhile, "it is failed|the agent ended meanwhile"),
    ],
    ids=["API error", "rate limit", "interrupt", "timeout", "permission", "death"],
)
async def test_without_a_summary_the_old_conversation_goes_on_with_all_that_was_sent_meanwhile(
    team: RestartableTeam,
    monkeypatch: pytest.MonkeyPatch,
    ask: str,
    meanwhile: Callable[[SupervisorRun, RestartableTeam, str], Awaitable[None]],
    why: str,
) -> None:
    monkeypatch.setattr(recycling, "ASK", ask)
    monkeypatch.setattr(recycling, "SUMMARY_S", 2.0)
    run = await team.start_compared()
    instance_id = await spawn(run, team, "the task")
    await settle(run, instance_id)
    member = run.team.registry.get(instance_id)
    before = member.record
    done = asyncio.create_task(recycle(run, instance_id))
    assert await run.team.changes.until(lambda: member.status is not Status.READY or done.done(), PATIENCE_S)
    (sent,) = await send(run, instance_id, "what comes next")
    await meanwhile(run, team, instance_id)
    with pytest.raises(AgentError, match=why) as raised:
        await done
    assert "goes on as it is" in str(raised.value)
    assert (member.record.session_id, member.record.summary) == (before.session_id, "")
    if member.status is not Status.READY:
        await run.call("restart", requests.RestartRequest(instance_id=instance_id))
    await settle(run, instance_id)
    ((first, *later),) = conversations(run, instance_id)
    assert first.endswith("the task")
    # With an agent that ends by itself its messages end, too.
    arrives = meanwhile is not dies_meanwhile
    assert receipt_of(run, sent).status is (MessageStatus.SUBMITTED if arrives else MessageStatus.FAILED)
    assert [prompt for prompt in later if prompt.endswith("what comes next")] == later[-1:] * arrives
    assert await disagreements(team, run) == []


async def test_who_cannot_be_asked_because_somebody_is_typing_is_never_told_that_its_conversation_ends(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "the task")
    await settle(run, instance_id)
    pane = Pane(TmuxClient(team.home.tmux_socket), agents(team)[instance_id].pane_id)
    await pane.paste("half a sentence")
    with pytest.raises(AgentError, match="could not be asked"):
        await recycle(run, instance_id)
    await pane.press("C-c")
    (sent,) = await send(run, instance_id, "what comes next")
    assert await run.team.changes.until(lambda: receipt_of(run, sent).final, PATIENCE_S)
    assert texts(team, instance_id) == ["the task", "what comes next"]


async def test_who_is_terminated_while_it_gives_its_summary_is_not_started_again(
    team: RestartableTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recycling, "ASK", "@@demo busy 1")
    run = await team.start_compared()
    instance_id = await spawn(run, team, "the task")
    await settle(run, instance_id)
    member = run.team.registry.get(instance_id)
    done = asyncio.create_task(recycle(run, instance_id))
    assert await run.team.changes.until(lambda: member.status is Status.BUSY, PATIENCE_S)
    assert (await terminate(run, instance_id)).status is Status.STOPPED
    with pytest.raises(PhalanxError):
        await done
    assert (member.status, agents(team)) == (Status.STOPPED, {})


@pytest.mark.parametrize(
    "rule", [{"PHALANX_RECYCLE_AFTER_TASKS": "3"}, {"PHALANX_RECYCLE_CONTEXT_TOKENS": "1"}], ids=["tasks", "tokens"]
)
async def test_an_instance_that_has_done_enough_is_recycled_by_itself(
    team: RestartableTeam, rule: dict[str, str]
) -> None:
    run = await team.start_compared(**rule)
    instance_id = await spawn(run, team, "the task")
    session = run.team.registry.get(instance_id).record.session_id
    if "PHALANX_RECYCLE_AFTER_TASKS" in rule:
        for number in range(2):
            assert run.team.registry.get(instance_id).record.session_id == session
            await settle(run, instance_id)
            await send(run, instance_id, f"task {number}")
    changes, registry = run.team.changes, run.team.registry
    assert await changes.until(lambda: registry.get(instance_id).record.session_id != session, 20)
    assert await changes.until(lambda: registry.get(instance_id).snapshot.status is Status.READY, 20)


@both
async def test_no_message_and_no_instance_is_lost_whenever_the_supervisor_dies_in_a_recycling(
    make_team: Callable[[], RestartableTeam], actors_die: Callable[[int], bool]
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        instance_id = await spawn(run, team, "the task")
        await settle(run, instance_id)
        old = run.team.registry.get(instance_id).record.transcript_path
        run.kill_switch.kill_at(moment)
        done = asyncio.create_task(recycle(run, instance_id))
        sending = asyncio.create_task(send_two(done, run, instance_id))
        died = await is_killed(done)
        calls = run.kill_switch.calls
        sent = await sending
        run = await team.restart(actors_die=actors_die(moment))
        assert await disagreements(team, run) == [], calls
        status = (await listed(run))[instance_id].status
        if status in (Status.STOPPED, Status.FAILED):
            assert (await run.call("resume", requests.ResumeRequest())).success, calls
        await send(run, instance_id, "afterwards")
        await settle(run, instance_id)
        *before, now = conversations(run, instance_id, *([old] if await began_anew(run, instance_id, old) else []))
        assert all(ASK in one[-1] for one in before), calls
        asked = [ASK in prompt for one in (*before, now) for prompt in one]
        assert sum(asked) <= 1, calls
        assert not (before and any(ASK in prompt for prompt in now)), calls
        said = [line for one in (*before, now) for prompt in one for line in prompt.splitlines()]
        lines = [line for line in said if line and not line.startswith("[phalanx") and line != ASK]
        unanswered = [text for text in ("one", "two") if text not in sent and text in lines]
        assert [line for line in lines if line not in unanswered] == ["the task", *sent, "afterwards"], calls
        assert len(lines) == len(set(lines)), calls
        assert await disagreements(team, run) == [], calls
        return not died

    assert await through_all_moments(make_team, play) > 5


async def send_two(done: asyncio.Task[object], run: SupervisorRun, instance_id: str) -> list[str]:
    """While it is recycled; what was accepted."""
    accepted: list[str] = []
    member = run.team.registry.get(instance_id)
    await run.team.changes.until(lambda: member.status is Status.BUSY or done.done(), 5.0)
    for text in ("one", "two"):
        if await is_killed(send(run, instance_id, text)):
            break
        accepted.append(text)
    return accepted


async def began_anew(run: SupervisorRun, instance_id: str, old: str) -> bool:
    return run.team.registry.get(instance_id).record.transcript_path != old
