"""How instances fail, are interrupted, restarted and terminated, over real tmux, git and demo agents in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.errors import WrongStateError
from actors.home import Home
from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.server import TmuxServer
from supervisor.api import requests
from supervisor.supervisor import Supervisor
from tests.integration.supervisor.calls import settle_supervisor, specialist
from tests.integration.supervisor.conftest import LEAD
from tests.projects import git


async def test_an_agent_that_crashes_tells_its_last_words_takes_no_messages_and_restarts_with_its_conversation(
    supervisor: Supervisor, repository: Path
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "first\n@@demo crash 9"), LEAD)
    await supervisor.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention"), LEAD)
    listed = await supervisor.list(requests.ListRequest(needs_attention=True), LEAD)
    assert listed.instances[0].status is Status.FAILED
    assert "exit status 9" in (listed.instances[0].reason or "")
    second = requests.SendRequest(instance_id=spawned.instance_id, message="second", wait=True)
    with pytest.raises(WrongStateError, match="Restart it"):
        await supervisor.send(second, LEAD)
    restarted = await supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD)
    assert restarted.status is Status.READY
    await supervisor.send(second, LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    read = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    questions = [entry.text for entry in read.entries if entry.kind == "question"]
    assert ["first" in question for question in questions] == [True, False]


async def test_a_restart_whose_caller_goes_away_in_the_middle_is_done_all_the_same(
    supervisor: Supervisor, repository: Path
) -> None:
    spawned = await supervisor.spawn(specialist(repository), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    member = supervisor._team.registry.get(spawned.instance_id)
    before = member.record.pid
    calling = asyncio.create_task(supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD))
    await supervisor._team.changes.until(lambda: member.coming_back, 20)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert calling.cancelled()

    def is_back() -> bool:
        return member.record.pid != before and member.snapshot.status is Status.READY

    assert await supervisor._team.changes.until(is_back, 20)


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


async def test_terminate_removes_the_worktree_and_saves_what_is_nowhere_else(
    supervisor: Supervisor, repository: Path
) -> None:
    clean = await supervisor.spawn(specialist(repository), LEAD)
    committed = await supervisor.spawn(specialist(repository, "@@demo commit part.md text"), LEAD)
    dirty = await supervisor.spawn(specialist(repository), LEAD)
    (Path(dirty.working_directory) / "unsaved.txt").write_text("work")
    await settle_supervisor(supervisor, clean.instance_id, committed.instance_id, dirty.instance_id)
    ended = [
        (await supervisor.terminate(requests.TerminateRequest(instance_id=one.instance_id), LEAD)).terminated[0]
        for one in (clean, committed, dirty)
    ]
    assert [one.workspace_removed for one in ended] == [True, True, True]
    assert all(one.status is Status.STOPPED for one in ended)
    assert not any(Path(one.working_directory).exists() for one in (clean, committed, dirty))
    assert ended[0].saved_ref is None
    assert git(repository, "show", f"{ended[1].saved_ref}:part.md") == "text"
    assert ended[2].saved_ref == f"refs/phalanx/saved/{dirty.instance_id}"
    assert git(repository, "show", f"{ended[2].saved_ref}:unsaved.txt") == "work"


async def test_a_terminated_instance_has_no_message_under_way_and_needs_nobody(
    supervisor: Supervisor, repository: Path
) -> None:
    busy = await supervisor.spawn(specialist(repository, "@@demo busy 60"), LEAD)
    crashed = await supervisor.spawn(specialist(repository, "@@demo crash 9"), LEAD)
    await supervisor.send(requests.SendRequest(instance_id=busy.instance_id, message="too late"), LEAD)
    await supervisor.wait(requests.WaitRequest(instance_ids=[crashed.instance_id], until="needs_attention"), LEAD)
    for one in (busy, crashed):
        await supervisor.terminate(requests.TerminateRequest(instance_id=one.instance_id), LEAD)
    assert (await supervisor.list(requests.ListRequest(), LEAD)).instances == []
    listed = await supervisor.list(requests.ListRequest(include_stopped=True), LEAD)
    assert listed.needs_attention == []
    assert [(info.status, info.queued_messages) for info in listed.instances] == [(Status.STOPPED, 0)] * 2


async def test_who_restarts_and_terminates_at_once_gets_one_after_the_other(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository), LEAD)
    restarting = asyncio.create_task(supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD))
    await asyncio.sleep(0)
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=spawned.instance_id), LEAD)
    assert (await restarting).status is Status.READY
    assert ended.terminated[0].status is Status.STOPPED
    assert TmuxServer(home.tmux_socket).agents() == ()


async def test_several_are_restarted_and_terminated_by_one_call_each_and_an_unknown_one_fails_alone(
    supervisor: Supervisor, repository: Path
) -> None:
    members = [specialist(repository, "hello", role="manager"), specialist(repository)]
    spawned = await supervisor.spawn_batch(requests.SpawnBatchRequest(instances=members), LEAD)
    manager, other = [each.instance_id or "" for each in spawned.instances]
    below = (await supervisor.spawn(specialist(repository, parentId=manager), LEAD)).instance_id
    await settle_supervisor(supervisor, manager, other, below)

    again = await supervisor.restart(requests.RestartRequest(instance_ids=[other, "spec_9_9_9", below]), LEAD)
    assert again.restarted is not None
    assert [each.success for each in again.restarted] == [True, False, True]
    assert again.restarted[0].status is Status.READY

    request = requests.TerminateRequest(instance_ids=[manager, below, "spec_9_9_9", other], cascade=True)
    ended = await supervisor.terminate(request, LEAD)
    assert [(each.instance_id, each.error is None) for each in ended.terminated] == [
        (below, True),
        (manager, True),
        ("spec_9_9_9", False),
        (other, True),
    ]
    assert {each.status for each in ended.terminated} == {Status.STOPPED, None}
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    assert (listed.instances, listed.not_shown) == ([], 3)
