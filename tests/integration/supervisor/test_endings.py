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
from tests.integration.supervisor.calls import received, settle_supervisor, specialist
from tests.integration.supervisor.conftest import LEAD
from tests.projects import git


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
    assert [info.instance_id for info in listed.instances] == [beside.instance_id]
    assert listed.not_shown == 3


async def test_messages_that_wait_for_a_busy_instance_survive_its_restart(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "@@demo busy 60"), LEAD)
    sent = await supervisor.send(requests.SendRequest(instance_id=spawned.instance_id, message="after"), LEAD)
    assert sent.status is MessageStatus.ACCEPTED
    await supervisor.restart(requests.RestartRequest(instance_id=spawned.instance_id), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
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
    assert (await supervisor.list(requests.ListRequest(), LEAD)).instances == []
    listed = await supervisor.list(requests.ListRequest(include_stopped=True), LEAD)
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
    assert TmuxServer(home.tmux_socket).agents() == ()


async def test_a_spawn_whose_caller_goes_away_is_either_whole_or_gone(supervisor: Supervisor, repository: Path) -> None:
    spawning = asyncio.create_task(supervisor.spawn(specialist(repository), LEAD))
    await asyncio.sleep(0.1)
    spawning.cancel()
    await asyncio.gather(spawning, return_exceptions=True)
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    (info,) = listed.instances
    await settle_supervisor(supervisor, info.instance_id)
    sent = await supervisor.send(requests.SendRequest(instance_id=info.instance_id, message="there?", wait=True), LEAD)
    assert sent.status is MessageStatus.SUBMITTED


async def test_without_cascade_those_below_go_on_and_are_named(supervisor: Supervisor, repository: Path) -> None:
    executive = await supervisor.spawn(specialist(repository, role="executive"), LEAD)
    below = await supervisor.spawn(specialist(repository, parentId=executive.instance_id), LEAD)
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=executive.instance_id), LEAD)
    assert ended.still_running == [below.instance_id]
