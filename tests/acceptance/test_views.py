"""What a page follows of a real team: rows as they change, past a killed supervisor, and a terminal taken over."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from typing import Any

import pytest

from supervisor.api import requests, results
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 90.0
STYLE = re.compile(r"\x1b\[[0-9;:]*m")


class Page:
    """Follows the team as a page does."""

    def __init__(self, client: SupervisorClient) -> None:
        self._client = client
        self._cursor: str | None = None
        self.rows: dict[str, results.InstanceInfo] = {}
        self.complete = 0

    async def row(self, instance_id: str, **expected: Any) -> results.InstanceInfo:
        """The row of this instance, once it says this."""
        row = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    row = self.rows.get(instance_id)
                    if row and all(getattr(row, name) == value for name, value in expected.items()):
                        return row
                    await self.follow()
        except TimeoutError:
            raise AssertionError(f"{expected} and not {row}") from None

    async def follow(self) -> None:
        answer = await self._client.changes(requests.ChangesRequest(cursor=self._cursor))
        self._cursor = answer.cursor
        self.complete += answer.complete
        if answer.complete:
            self.rows.clear()
        for gone in answer.gone:
            self.rows.pop(gone, None)
        self.rows.update({row.instance_id: row for row in answer.instances})


async def shows(client: SupervisorClient, instance_id: str, words: str) -> results.ScreenResult:
    """The terminal, once it shows these words."""
    version = None
    async with asyncio.timeout(PATIENCE_S):
        while True:
            shown = await client.screen(requests.ScreenRequest(instance_id=instance_id, after=version))
            if words in "\n".join(STYLE.sub("", line) for line in shown.lines):
                return shown
            version = shown.version


async def type_into(client: SupervisorClient, instance_id: str, *keys: dict[str, str]) -> None:
    await client.type(requests.TypeRequest.model_validate({"instanceId": instance_id, "keys": list(keys)}))


async def test_rows_go_on_over_the_death_of_the_supervisor_and_are_what_list_says(
    demo: SupervisorClient, demo_team: Team
) -> None:
    page = Page(demo)
    spawned = await demo.spawn(demo_team.specialist("Count to ten."))
    await page.row(spawned.instance_id, status="ready", task="Count to ten.", model="demo")
    assert page.complete == 1
    os.kill((await demo.status()).supervisor_pid, signal.SIGKILL)
    await demo.send(requests.SendRequest(instance_id=spawned.instance_id, message="And back.", wait=True))
    row = await page.row(spawned.instance_id, status="ready", task="And back.")
    assert page.complete == 2
    (listed,) = (await demo.list(requests.ListRequest(instance_ids=[spawned.instance_id]))).instances
    assert listed == row
    await demo.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    async with asyncio.timeout(PATIENCE_S):
        while spawned.instance_id in page.rows:
            await page.follow()
    assert page.complete == 2


@pytest.mark.real_claude
async def test_a_tool_of_claude_code_is_shown_while_it_runs_and_a_person_takes_the_terminal_over(
    claude: SupervisorClient, claude_team: Team
) -> None:
    page = Page(claude)
    watch = json.dumps({"command": "tail -f README.md", "description": "Watch it"})
    spawned = await claude.spawn(claude_team.specialist(f"Watch the file.\n@@tool Bash {watch}"))
    instance_id = spawned.instance_id
    doing = "Bash: tail -f README.md"
    if (await page.row(instance_id, activity=doing)).permission:
        # A Claude Code that did not get the 50 ms in which it must have read a command asks, also for what only reads.
        await claude.respond(requests.RespondRequest(instance_id=instance_id, decision="allow"))
    during = await page.row(instance_id, activity=doing, permission=None, status="busy")
    assert during.task == "Watch the file."
    await shows(claude, instance_id, "tail -f README.md")
    await type_into(claude, instance_id, {"key": "Escape"})
    await page.row(instance_id, status="ready")

    await type_into(claude, instance_id, {"text": "say: I am at the page"})
    await shows(claude, instance_id, "say: I am at the page")
    await type_into(claude, instance_id, {"key": "Enter"})
    after = await page.row(instance_id, status="ready", task="say: I am at the page")
    assert after.model
    assert after.context_tokens
    read = await claude.read(requests.ReadRequest(instance_id=instance_id, leaves_unread=True))
    (first, second) = [entry for entry in read.entries if entry.kind == "question"]
    (message,) = first.messages or []
    assert (message.sender, message.status) == ("lead", "submitted")
    assert message.exact is not bool(message.changes), message
    assert second.messages is None
