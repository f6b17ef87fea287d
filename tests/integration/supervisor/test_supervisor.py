"""The verbs over real tmux, git and demo agents in one process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from actors.errors import AgentError, InvalidRequestError, WrongStateError
from actors.home import Home
from actors.messages import MessageStatus
from actors.states import Status
from actors.terminal.pane import Tmux, list_panes
from actors.terminal.server import TerminalServer
from supervisor import requests
from supervisor.requests import BatchMessage, SpawnRequest
from supervisor.supervisor import Supervisor
from tests.integration.supervisor.conftest import LEAD
from tests.projects import git


def specialist(repository: Path, context: str = "hello", **more: object) -> SpawnRequest:
    fields = {"role": "specialist", "workDir": str(repository), "context": context, **more}
    return SpawnRequest.model_validate(fields)


async def settle(supervisor: Supervisor, *ids: str, timeout_s: float = 20) -> None:
    waited = await supervisor.wait(requests.WaitRequest(instance_ids=list(ids), timeout_seconds=timeout_s), LEAD)
    assert waited.reached


def received(home: Home, instance_id: str) -> list[str]:
    """Every prompt that the agent itself logged."""
    log = home.instance_directory(instance_id) / "demo-log.jsonl"
    return [json.loads(line)["prompt"] for line in log.read_text().split("\n") if line]


async def test_spawn_returns_when_the_agent_has_the_context(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "the task"), LEAD)
    assert spawned.instance_id == "spec_0_0_1"
    assert spawned.branch == "phalanx/spec_0_0_1"
    assert Path(spawned.working_directory).is_relative_to(home.worktrees)
    (prompt,) = received(home, spawned.instance_id)
    assert prompt.endswith("from lead]\nthe task")


async def test_a_batch_of_messages_arrives_in_order_once_and_in_few_turns(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository), LEAD)
    await settle(supervisor, spawned.instance_id)
    messages = [BatchMessage(instance_id=spawned.instance_id, message=f"number {n} \\") for n in range(25)]
    sent = await supervisor.send_batch(requests.SendBatchRequest(messages=messages, wait=True), LEAD)
    assert [result.status for result in sent.results] == [MessageStatus.SUBMITTED] * 25
    prompts = received(home, spawned.instance_id)[1:]
    assert len(prompts) == 3
    found = [line for prompt in prompts for line in prompt.splitlines() if line.startswith("number")]
    assert found == [f"number {n} \\" for n in range(25)]


async def test_a_failing_member_of_a_spawn_batch_fails_alone_and_in_its_place(
    supervisor: Supervisor, repository: Path, terminal: TerminalServer, home: Home
) -> None:
    batch = requests.SpawnBatchRequest(
        instances=[
            specialist(repository),
            specialist(repository / "missing"),
            specialist(repository, env={"PHALANX_DEMO_FAULTS": "exit-at-start=3"}),
            specialist(repository),
        ]
    )
    spawned = await supervisor.spawn_batch(batch, LEAD)
    assert [outcome.success for outcome in spawned.instances] == [True, False, False, True]
    assert "not a directory" in (spawned.instances[1].error.message if spawned.instances[1].error else "")
    assert "exit status 3" in (spawned.instances[2].error.message if spawned.instances[2].error else "")
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    assert len(listed.instances) == 2
    assert len(list(home.worktrees.iterdir())) == 2
    assert len(list(home.instances.iterdir())) == 2
    assert git(repository, "branch", "--list", "phalanx/*").count("phalanx/") == 2


async def test_a_message_is_held_while_a_dialog_is_up_and_goes_on_after_the_answer(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    dialog = '@@demo dialog Bash {"command": "touch it-ran"}'
    spawned = await supervisor.spawn(specialist(repository, dialog), LEAD)
    waited = await supervisor.wait(
        requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention"), LEAD
    )
    assert waited.instances[0].status is Status.WAITING_PERMISSION
    sent = await supervisor.send(
        requests.SendRequest(instance_id=spawned.instance_id, message="held?", immediate=True, wait=True), LEAD
    )
    assert sent.status is MessageStatus.BLOCKED
    ran = home.instance_directory(spawned.instance_id) / "ran.jsonl"
    assert not ran.exists()
    await supervisor.respond(requests.RespondRequest(instance_id=spawned.instance_id, decision="allow"), LEAD)
    await settle(supervisor, spawned.instance_id)
    assert ran.exists()
    assert received(home, spawned.instance_id)[-1].endswith("held?")


@pytest.mark.parametrize(
    ("faults", "words"),
    [("exit-at-start=7", "exit status 7"), ("trust-dialog", "trust")],
)
async def test_an_agent_that_cannot_start_fails_in_words_and_leaves_nothing(
    supervisor: Supervisor, repository: Path, home: Home, faults: str, words: str
) -> None:
    with pytest.raises(AgentError, match=words):
        await supervisor.spawn(specialist(repository, env={"PHALANX_DEMO_FAULTS": faults}), LEAD)
    assert not list(home.worktrees.iterdir())
    assert not list(home.instances.iterdir())
    assert not git(repository, "branch", "--list", "phalanx/*")


@pytest.mark.parametrize("faults", ["swallow-first-enter", "start-slow=1.5"])
async def test_an_agent_that_starts_badly_gets_its_message_all_the_same(
    supervisor: Supervisor, repository: Path, home: Home, faults: str
) -> None:
    spawned = await supervisor.spawn(specialist(repository, env={"PHALANX_DEMO_FAULTS": faults}), LEAD)
    assert len(received(home, spawned.instance_id)) == 1


async def test_an_agent_that_crashes_is_reported_with_its_last_words_and_takes_no_messages(
    supervisor: Supervisor, repository: Path
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "@@demo crash 9"), LEAD)
    await supervisor.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention"), LEAD)
    listed = await supervisor.list(requests.ListRequest(needs_attention=True), LEAD)
    assert listed.instances[0].status is Status.FAILED
    assert "exit status 9" in (listed.instances[0].reason or "")
    with pytest.raises(WrongStateError, match="Restart it"):
        await supervisor.send(requests.SendRequest(instance_id=spawned.instance_id, message="hello?"), LEAD)


async def test_a_failed_instance_restarts_with_its_conversation(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "first\n@@demo crash 9"), LEAD)
    await supervisor.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention"), LEAD)
    restarted = await supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD)
    assert restarted.status is Status.READY
    await supervisor.send(requests.SendRequest(instance_id=spawned.instance_id, message="second", wait=True), LEAD)
    await settle(supervisor, spawned.instance_id)
    read = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    questions = [entry.text for entry in read.entries if entry.kind == "question"]
    assert ["first" in question for question in questions] == [True, False]


async def test_an_interrupt_stops_the_turn_and_leaves_the_instance_usable(
    supervisor: Supervisor, repository: Path
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "@@demo busy 60"), LEAD)
    request = requests.InterruptRequest(instance_id=spawned.instance_id)
    assert (await supervisor.interrupt(request, LEAD)).interrupted
    assert not (await supervisor.interrupt(request, LEAD)).interrupted
    sent = await supervisor.send(
        requests.SendRequest(instance_id=spawned.instance_id, message="still there?", wait=True), LEAD
    )
    assert sent.status is MessageStatus.SUBMITTED


async def test_reading_by_cursor_gives_only_what_is_new(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository, "one"), LEAD)
    await settle(supervisor, spawned.instance_id)
    first = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    await supervisor.send(requests.SendRequest(instance_id=spawned.instance_id, message="two", wait=True), LEAD)
    await settle(supervisor, spawned.instance_id)
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    assert listed.instances[0].unread == 1
    new = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, cursor=first.cursor), LEAD)
    assert [entry.kind for entry in new.entries] == ["question", "answer"]
    again = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, cursor=new.cursor), LEAD)
    assert again.entries == []


async def test_terminate_removes_a_clean_worktree_and_keeps_one_with_work(
    supervisor: Supervisor, repository: Path
) -> None:
    clean = await supervisor.spawn(specialist(repository), LEAD)
    committed = await supervisor.spawn(specialist(repository, "@@demo commit part.md text"), LEAD)
    dirty = await supervisor.spawn(specialist(repository), LEAD)
    (Path(dirty.working_directory) / "unsaved.txt").write_text("work")
    await settle(supervisor, clean.instance_id, committed.instance_id, dirty.instance_id)
    ended = [
        (await supervisor.terminate(requests.TerminateRequest(instance_id=one.instance_id), LEAD)).terminated[0]
        for one in (clean, committed, dirty)
    ]
    assert [one.workspace_removed for one in ended] == [True, False, False]
    assert all(one.status is Status.STOPPED for one in ended)
    assert "unsaved.txt" in (ended[2].kept or "")
    assert (Path(dirty.working_directory) / "unsaved.txt").exists()
    assert git(repository, "log", "--oneline", committed.branch or "").count("\n") == 1


async def test_cascade_ends_those_below_and_nobody_else(supervisor: Supervisor, repository: Path) -> None:
    executive = await supervisor.spawn(specialist(repository, role="executive"), LEAD)
    manager = await supervisor.spawn(specialist(repository, role="manager", parentId=executive.instance_id), LEAD)
    below = await supervisor.spawn(specialist(repository, parentId=manager.instance_id), LEAD)
    beside = await supervisor.spawn(specialist(repository), LEAD)
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=executive.instance_id, cascade=True), LEAD)
    assert ended.still_running == []
    assert {one.instance_id for one in ended.terminated} == {
        executive.instance_id,
        manager.instance_id,
        below.instance_id,
    }
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    alive = [info.instance_id for info in listed.instances if info.status is not Status.STOPPED]
    assert alive == [beside.instance_id]


async def test_a_shared_workspace_is_the_directory_itself(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository, workspaceMode="shared"), LEAD)
    assert spawned.working_directory == str(repository)
    assert spawned.branch == "main"
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=spawned.instance_id), LEAD)
    assert not ended.terminated[0].workspace_removed
    assert (repository / "README.md").exists()


@pytest.mark.parametrize(
    ("work_dir", "words"),
    [("relative/path", "absolute"), ("/nowhere/at/all", "not a directory"), ("/", "too wide"), ("/a\0b", "absolute")],
)
async def test_a_work_dir_that_cannot_be_is_refused_in_words(
    supervisor: Supervisor, repository: Path, work_dir: str, words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        await supervisor.spawn(specialist(repository, workDir=work_dir), LEAD)


async def test_a_message_that_is_too_long_fails_alone(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository), LEAD)
    messages = [
        BatchMessage(instance_id=spawned.instance_id, message="x" * 5_000_000),
        BatchMessage(instance_id="spec_9_9_9", message="for nobody"),
        BatchMessage(instance_id=spawned.instance_id, message="fits\x1b[2J"),
    ]
    sent = await supervisor.send_batch(requests.SendBatchRequest(messages=messages, wait=True), LEAD)
    assert [result.success for result in sent.results] == [False, False, True]
    assert [result.error.code if result.error else "" for result in sent.results] == [
        "invalid_request",
        "unknown_instance",
        "",
    ]
    assert sent.results[2].removed_characters == 1


async def test_spawns_run_at_once_only_up_to_the_cap(supervisor: Supervisor, repository: Path) -> None:
    slow = {"PHALANX_DEMO_FAULTS": "start-slow=0.5"}
    batch = requests.SpawnBatchRequest(instances=[specialist(repository, env=slow) for _ in range(7)])
    spawning = asyncio.create_task(supervisor.spawn_batch(batch, LEAD))
    most = 0
    while not spawning.done():
        listed = await supervisor.list(requests.ListRequest(), LEAD)
        most = max(most, listed.counts.get("starting", 0))
        await asyncio.sleep(0.02)
    assert (await spawning).success
    assert most == 5


async def test_messages_that_wait_for_a_busy_instance_survive_its_restart(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "@@demo busy 60"), LEAD)
    sent = await supervisor.send(requests.SendRequest(instance_id=spawned.instance_id, message="after"), LEAD)
    assert sent.status is MessageStatus.ACCEPTED
    await supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD)
    await settle(supervisor, spawned.instance_id)
    assert [prompt.endswith("after") for prompt in received(home, spawned.instance_id)] == [False, True]


async def test_a_terminated_instance_has_no_message_under_way_and_needs_nobody(
    supervisor: Supervisor, repository: Path
) -> None:
    busy = await supervisor.spawn(specialist(repository, "@@demo busy 60"), LEAD)
    crashed = await supervisor.spawn(specialist(repository, "@@demo crash 9"), LEAD)
    await supervisor.send(requests.SendRequest(instance_id=busy.instance_id, message="too late"), LEAD)
    await supervisor.wait(requests.WaitRequest(instance_ids=[crashed.instance_id], until="needs_attention"), LEAD)
    for one in (busy, crashed):
        await supervisor.terminate(requests.TerminateRequest(instance_id=one.instance_id), LEAD)
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    assert listed.needs_attention == []
    assert [(info.status, info.queued_messages) for info in listed.instances] == [(Status.STOPPED, 0)] * 2


async def test_a_worktree_in_which_another_instance_works_is_kept(supervisor: Supervisor, repository: Path) -> None:
    owner = await supervisor.spawn(specialist(repository), LEAD)
    guest = await supervisor.spawn(
        specialist(repository, workDir=owner.working_directory, workspaceMode="shared"), LEAD
    )
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=owner.instance_id), LEAD)
    assert guest.instance_id in (ended.terminated[0].kept or "")
    assert Path(guest.working_directory).is_dir()


async def test_who_restarts_and_terminates_at_once_gets_one_after_the_other(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository), LEAD)
    restarting = asyncio.create_task(supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD))
    await asyncio.sleep(0)
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=spawned.instance_id), LEAD)
    assert (await restarting).status is Status.READY
    assert ended.terminated[0].status is Status.STOPPED
    assert await list_panes(Tmux(home.tmux_socket)) == []


async def test_a_spawn_whose_caller_goes_away_is_either_whole_or_gone(supervisor: Supervisor, repository: Path) -> None:
    spawning = asyncio.create_task(supervisor.spawn(specialist(repository), LEAD))
    await asyncio.sleep(0.1)
    spawning.cancel()
    await asyncio.gather(spawning, return_exceptions=True)
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    (info,) = listed.instances
    await settle(supervisor, info.instance_id)
    sent = await supervisor.send(requests.SendRequest(instance_id=info.instance_id, message="there?", wait=True), LEAD)
    assert sent.status is MessageStatus.SUBMITTED


async def test_without_cascade_those_below_go_on_and_are_named(supervisor: Supervisor, repository: Path) -> None:
    executive = await supervisor.spawn(specialist(repository, role="executive"), LEAD)
    below = await supervisor.spawn(specialist(repository, parentId=executive.instance_id), LEAD)
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=executive.instance_id), LEAD)
    assert ended.still_running == [below.instance_id]


async def test_without_claude_code_a_spawn_fails_and_names_what_is_missing(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    with pytest.raises(AgentError, match="cannot start 'no-such-claude': not found on the PATH"):
        await supervisor.spawn(specialist(repository, agent="claude"), LEAD)
    assert not list(home.worktrees.iterdir())
