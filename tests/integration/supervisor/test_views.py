"""What a page needs of a team: rows as they change, a live terminal, receipts in a conversation; with demo agents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError, UnknownInstanceError, WrongStateError
from actors.home import Home
from supervisor.api import requests, results
from supervisor.supervisor import Supervisor
from tests.integration.supervisor.calls import received, settle_supervisor, specialist
from tests.integration.supervisor.conftest import LEAD

PATIENCE_S = 30.0


async def call(supervisor: Supervisor, verb: str, request: requests.Request) -> Any:
    return await supervisor.call(verb, request, LEAD)


async def row_when(supervisor: Supervisor, instance_id: str, **expected: Any) -> results.InstanceInfo:
    """The row of this instance, once it says this; followed as a page does."""
    held: dict[str, results.InstanceInfo] = {}
    cursor = None
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await call(supervisor, "changes", requests.ChangesRequest(cursor=cursor))
            cursor = answer.cursor
            held.update({row.instance_id: row for row in answer.instances})
            row = held.get(instance_id)
            if row and all(getattr(row, name) == value for name, value in expected.items()):
                return row


async def test_a_page_follows_an_instance_from_its_start_to_its_end(supervisor: Supervisor, repository: Path) -> None:
    empty = await call(supervisor, "changes", requests.ChangesRequest())
    assert (empty.complete, empty.instances) == (True, [])
    spawned = await supervisor.spawn(specialist(repository, "Count the words.\nAll of them."), LEAD)
    row = await row_when(supervisor, spawned.instance_id, status="ready", task="Count the words.", unread=1)
    assert row.activity == "demo: received 1 message(s): All of them."
    assert (row.model, row.context_window) == ("demo", 200_000)
    assert row.context_tokens is not None
    await call(supervisor, "send", requests.SendRequest(instance_id=spawned.instance_id, message="More " * 4000))
    later = await row_when(supervisor, spawned.instance_id, status="ready", unread=2)
    assert later.context_tokens is not None
    assert later.context_tokens > row.context_tokens + 4000
    before = await call(supervisor, "changes", requests.ChangesRequest())
    await call(supervisor, "terminate", requests.TerminateRequest(instance_id=spawned.instance_id))
    after = await call(supervisor, "changes", requests.ChangesRequest(cursor=before.cursor, timeout_seconds=0))
    assert (after.complete, after.instances, after.gone) == (False, [], [spawned.instance_id])


async def test_a_view_reads_without_marking_as_read_and_sees_what_became_of_each_message(
    supervisor: Supervisor, repository: Path
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "the task"), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    sent = await call(
        supervisor, "send", requests.SendRequest(instance_id=spawned.instance_id, message="a\tb", wait=True)
    )
    await row_when(supervisor, spawned.instance_id, status="ready", unread=2)
    page = await call(
        supervisor, "read", requests.ReadRequest(instance_id=spawned.instance_id, leaves_unread=True, lines=2000)
    )
    questions = [entry for entry in page.entries if entry.kind == "question"]
    (first,), (second,) = [question.messages for question in questions]
    assert (first.sender, first.status, first.exact) == ("lead", "submitted", True)
    assert (second.message_id, second.sender, second.status) == (sent.message_id, "lead", "submitted")
    assert all(entry.messages is None for entry in page.entries if entry.kind != "question")
    assert (await call(supervisor, "list", requests.ListRequest())).instances[0].unread == 2
    await call(supervisor, "read", requests.ReadRequest(instance_id=spawned.instance_id, lines=2000))
    await row_when(supervisor, spawned.instance_id, unread=0)


async def _calm_screen(supervisor: Supervisor, instance_id: str) -> results.ScreenResult:
    """The terminal once it shows the same for a moment."""
    shown: results.ScreenResult = await call(supervisor, "screen", requests.ScreenRequest(instance_id=instance_id))
    async with asyncio.timeout(PATIENCE_S):
        while True:
            look = requests.ScreenRequest(instance_id=instance_id, after=shown.version, timeout_seconds=0.5)
            again = await call(supervisor, "screen", look)
            if again == shown:
                return shown
            shown = again


async def test_a_person_takes_a_terminal_over_from_a_page(supervisor: Supervisor, repository: Path, home: Home) -> None:
    spawned = await supervisor.spawn(specialist(repository, "the task"), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    instance_id = spawned.instance_id
    shown = await _calm_screen(supervisor, instance_id)
    waiting = asyncio.create_task(
        call(supervisor, "screen", requests.ScreenRequest(instance_id=instance_id, after=shown.version))
    )
    keys = [{"text": "look at me"}, {"key": "Enter"}]
    await call(supervisor, "type", requests.TypeRequest.model_validate({"instanceId": instance_id, "keys": keys}))
    changed = await asyncio.wait_for(waiting, PATIENCE_S)
    assert changed.version != shown.version
    row = await row_when(supervisor, instance_id, task="look at me", status="ready")
    assert row.activity == "demo: received 1 message(s): look at me"
    assert received(home, instance_id)[-1] == "look at me"


async def test_a_key_of_a_person_answers_no_request_that_this_person_has_not_seen(
    supervisor: Supervisor, repository: Path, home: Home
) -> None:
    spawned = await supervisor.spawn(specialist(repository, "the task"), LEAD)
    await settle_supervisor(supervisor, spawned.instance_id)
    instance_id = spawned.instance_id
    before = await call(supervisor, "screen", requests.ScreenRequest(instance_id=instance_id))
    asks = '@@demo dialog Bash {"command": "touch it-ran"}'
    await call(supervisor, "send", requests.SendRequest(instance_id=instance_id, message=asks))
    await row_when(supervisor, instance_id, status="waiting_permission")
    now = before
    async with asyncio.timeout(PATIENCE_S):
        while "touch it-ran" not in "\n".join(now.lines) or "Yes" not in "\n".join(now.lines):
            request = requests.ScreenRequest(instance_id=instance_id, after=now.version)
            now = await call(supervisor, "screen", request)

    enter = {"instanceId": instance_id, "keys": [{"key": "Enter"}]}
    with pytest.raises(WrongStateError, match="Nothing was typed: meanwhile a dialog is up"):
        await call(supervisor, "type", requests.TypeRequest.model_validate({**enter, "seen": before.version}))
    ran = home.instance_directory(instance_id) / "ran.jsonl"
    assert not ran.exists()
    await call(supervisor, "type", requests.TypeRequest.model_validate({**enter, "seen": now.version}))
    await row_when(supervisor, instance_id, status="ready", permission=None)
    assert ran.exists()


async def test_one_that_was_terminated_has_no_terminal(supervisor: Supervisor, repository: Path) -> None:
    spawned = await supervisor.spawn(specialist(repository), LEAD)
    await call(supervisor, "terminate", requests.TerminateRequest(instance_id=spawned.instance_id))
    typed = {"instanceId": spawned.instance_id, "keys": [{"text": "ls"}]}
    for verb, request in (
        ("screen", requests.ScreenRequest(instance_id=spawned.instance_id)),
        ("type", requests.TypeRequest.model_validate(typed)),
    ):
        with pytest.raises(UnavailableError, match="has no running actor"):
            await call(supervisor, verb, request)
    with pytest.raises(UnknownInstanceError, match="no instance nobody"):
        await call(supervisor, "screen", requests.ScreenRequest(instance_id="nobody"))
