"""Starting instances and giving them messages, over real tmux, git and demo agents in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.agents.catalog import AgentCatalog
from actors.errors import AgentError, InvalidRequestError, UnavailableError, WrongStateError
from actors.home import Home
from actors.host.host import Host
from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.server import TmuxServer
from supervisor.api import requests
from supervisor.api.requests import BatchMessage, ShutdownRequest
from supervisor.build import build_supervisor
from supervisor.settings import Settings
from supervisor.supervisor import Supervisor
from tests.fakes.store import MemoryStore
from tests.integration.supervisor.calls import received, settle_supervisor, specialist
from tests.integration.supervisor.conftest import LEAD, environment_of
from tests.integration.supervisor.runs import Actors
from tests.projects import git


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
    await settle_supervisor(supervisor, spawned.instance_id)
    messages = [BatchMessage(instance_id=spawned.instance_id, message=f"number {n} \\") for n in range(25)]
    sent = await supervisor.send_batch(requests.SendBatchRequest(messages=messages, wait=True), LEAD)
    assert [result.status for result in sent.results] == [MessageStatus.SUBMITTED] * 25
    prompts = received(home, spawned.instance_id)[1:]
    assert len(prompts) == 3
    found = [line for prompt in prompts for line in prompt.splitlines() if line.startswith("number")]
    assert found == [f"number {n} \\" for n in range(25)]


async def test_a_failing_member_of_a_spawn_batch_fails_alone_and_in_its_place(
    supervisor: Supervisor, repository: Path, terminal: TmuxServer, home: Home
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
    asked = waited.instances[0].permission
    assert asked is not None
    allow = requests.RespondRequest(instance_id=spawned.instance_id, decision="allow", permission_id="0" * 32)
    with pytest.raises(WrongStateError, match=r"Nothing was answered: .* another one, for Bash"):
        await supervisor.respond(allow, LEAD)
    assert (await supervisor.list(requests.ListRequest(), LEAD)).instances[0].permission == asked
    assert not ran.exists()
    answered = await supervisor.respond(allow.model_copy(update={"permission_id": asked.permission_id}), LEAD)
    assert answered.permission == asked
    await settle_supervisor(supervisor, spawned.instance_id)
    assert ran.exists()
    assert received(home, spawned.instance_id)[-1].endswith("held?")


async def test_an_agent_that_asks_something_at_its_start_stays_and_takes_its_message_once_it_is_answered(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository, env={"PHALANX_DEMO_FAULTS": "trust-dialog"}), LEAD)
    assert spawned.status is Status.STARTING
    assert "trust" in (spawned.reason or "")
    (asks,) = (await supervisor.list(requests.ListRequest(), LEAD)).instances
    assert asks.needs_attention
    assert asks.dialog is not None
    answer = requests.RespondRequest(instance_id=spawned.instance_id, option=asks.dialog.options[0])
    await supervisor.respond(answer, LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    assert len(received(home, spawned.instance_id)) == 1


@pytest.mark.parametrize("faults", ["swallow-first-enter", "start-slow=1.5"])
async def test_an_agent_that_starts_badly_gets_its_message_all_the_same(
    supervisor: Supervisor, repository: Path, home: Home, faults: str
) -> None:
    spawned = await supervisor.spawn(specialist(repository, env={"PHALANX_DEMO_FAULTS": faults}), LEAD)
    assert len(received(home, spawned.instance_id)) == 1


async def test_reading_by_cursor_gives_only_what_is_new(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository, "one"), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    first = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    await supervisor.send(requests.SendRequest(instance_id=spawned.instance_id, message="two", wait=True), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    assert listed.instances[0].unread == 1
    new = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, cursor=first.cursor), LEAD)
    assert [entry.kind for entry in new.entries] == ["question", "answer"]
    again = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, cursor=new.cursor), LEAD)
    assert again.entries == []


async def test_what_a_terminated_instance_said_stays_readable(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository, "one"), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    whole = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    first = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, lines=1), LEAD)
    await supervisor.terminate(requests.TerminateRequest(instance_id=spawned.instance_id), LEAD)
    again = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    assert again.entries == whole.entries
    assert [entry.kind for entry in again.entries] == ["question", "answer"]
    assert first.entries == whole.entries[-1:]
    new = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, cursor=whole.cursor), LEAD)
    assert new.entries == []
    with pytest.raises(UnavailableError, match="restart it"):
        await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, source="screen"), LEAD)


async def test_a_long_message_is_read_shortened_or_in_whole(supervisor: Supervisor, repository: Path) -> None:
    context = "x" * 50_000
    spawned = await supervisor.spawn(specialist(repository, context), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    page = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id), LEAD)
    question = page.entries[0]
    assert (question.kind, len(question.text) + (question.left_out or 0) > 50_000) == ("question", True)
    assert len(question.text) == 20_000
    full = await supervisor.read(requests.ReadRequest(instance_id=spawned.instance_id, full=question.full), LEAD)
    assert [entry.text.rstrip().endswith(f"\n{context}") for entry in full.entries] == [True]


async def test_a_shared_workspace_is_the_directory_itself(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository, workspaceMode="shared"), LEAD)
    assert spawned.working_directory == str(repository)
    assert spawned.branch == "main"
    ended = await supervisor.terminate(requests.TerminateRequest(instance_id=spawned.instance_id), LEAD)
    assert not ended.terminated[0].workspace_removed
    assert (repository / "README.md").exists()


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


async def test_a_malformed_member_fails_alone_and_in_its_place(supervisor: Supervisor, repository: Path) -> None:
    member = {"role": "specialist", "workDir": str(repository), "context": "hello"}
    batch = requests.SpawnBatchRequest.model_validate({"instances": [{**member, "role": "king"}, member]})
    spawned = await supervisor.spawn_batch(batch, LEAD)
    assert [one.success for one in spawned.instances] == [False, True]
    assert "role cannot be 'king'" in (spawned.instances[0].error.message if spawned.instances[0].error else "")
    instance_id = spawned.instances[1].instance_id
    letters = [{"instanceId": instance_id}, {"instanceId": instance_id, "message": "arrives", "immediate": True}]
    order = requests.SendBatchRequest.model_validate({"messages": letters, "wait": True, "requestId": "r1"})
    for sent in (await supervisor.send_batch(order, LEAD), await supervisor.send_batch(order, LEAD)):
        assert [one.status for one in sent.results] == [None, MessageStatus.SUBMITTED]
        assert [one.instance_id for one in sent.results] == [instance_id] * 2
        assert "message is missing" in (sent.results[0].error.message if sent.results[0].error else "")
        assert (sent.performance.total_messages, sent.performance.immediate) == (2, 1)


async def test_without_claude_code_a_spawn_fails_and_names_what_is_missing(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    with pytest.raises(AgentError, match="cannot start 'no-such-claude': not found on the PATH"):
        await supervisor.spawn(specialist(repository, agent="claude"), LEAD)
    assert not list(home.worktrees.iterdir())


async def test_instances_that_ask_for_nothing_are_started_only_where_the_configuration_allows_it(
    supervisor: Supervisor, repository: Path, home: Home, host: Host, catalog: AgentCatalog, actors: Actors
) -> None:
    asked = specialist(repository, permissionMode="bypassPermissions")
    with pytest.raises(InvalidRequestError, match="allow_bypass_permissions = true"):
        await supervisor.spawn(asked, LEAD)
    assert not list(home.worktrees.iterdir())

    allowed = Settings.load(home, {**environment_of(home), "PHALANX_ALLOW_BYPASS_PERMISSIONS": "true"})
    made = build_supervisor(home, allowed, host, catalog, actors, MemoryStore())
    await made.recover()
    try:
        assert (await made.spawn(asked, LEAD)).instance_id
    finally:
        await made.shutdown(ShutdownRequest(), LEAD)
        await made.close()
