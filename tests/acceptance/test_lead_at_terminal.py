"""``phalanx lead`` with the real Claude Code: a person at a terminal begins, leaves, ends it and goes on with it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.status import ALIVE, Status
from supervisor.api import requests
from supervisor.api.results import InstanceDescription
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.acceptance.test_people import screen_of
from tests.people import PtyPerson
from tests.standin.api import ApiStandIn

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]
PROGRAM = str(Path(sys.executable).with_name("phalanx"))
PATIENCE_S = 90.0


def lead_at_terminal(team: Team, *words: str) -> PtyPerson:
    environment = {**team.environment, "TERM": "xterm-256color"}
    return PtyPerson((PROGRAM, "lead", str(team.repository), *words), 100, 30, environment)


async def until(condition: Callable[[], bool], shown: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, shown()
        await asyncio.sleep(0.1)


async def the_lead(client: SupervisorClient) -> InstanceDescription:
    (lead,) = (each for each in (await client.describe()).instances if each.attended)
    return lead


async def has_said(client: SupervisorClient, instance_id: str, words: str) -> bool:
    page = await client.read(requests.ReadRequest(instance_id=instance_id))
    return any(words in entry.text for entry in page.entries)


async def test_a_person_leads_with_the_real_claude_and_goes_on_with_it_after_an_exit(
    claude: SupervisorClient, claude_team: Team, api: ApiStandIn
) -> None:
    with lead_at_terminal(claude_team) as person:

        def screen() -> str:
            return person.seen.decode(errors="replace")[-4000:]

        await until(lambda: "To come back" in screen(), screen)
        lead = await the_lead(claude)
        assert (lead.role, lead.status, lead.work_dir) == ("executive", Status.READY, str(claude_team.repository))
        person.type("good morning team")
        await until(lambda: "good morning team" in screen_of(claude_team, lead.instance_id), screen)
        person.type("\r")
        deadline = time.monotonic() + PATIENCE_S
        while not await has_said(claude, lead.instance_id, "good morning team"):
            assert time.monotonic() < deadline, screen()
            await asyncio.sleep(0.2)
        await claude.wait(requests.WaitRequest(instance_ids=[lead.instance_id], timeout_seconds=PATIENCE_S))
        told = [str(each.get("system")) for each in api.requests_with("good morning team")]
        assert any("You are its executive: a person works with you at this terminal" in each for each in told)
        assert not any("who reads what you answer and cannot see your screen" in each for each in told)
        person.type("/exit")
        await asyncio.sleep(0.5)  # the list of commands comes up
        person.type("\r")
        await until(person.has_ended, screen)

    deadline = time.monotonic() + PATIENCE_S
    while (ended := await the_lead(claude)).status in ALIVE:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert ended.resumable

    with lead_at_terminal(claude_team, "--resume") as person:
        await until(lambda: b"To come back" in person.seen, lambda: person.seen.decode(errors="replace")[-4000:])
        again = await the_lead(claude)
        assert (again.instance_id, again.status) == (lead.instance_id, Status.READY)
        person.detach()
    assert await has_said(claude, lead.instance_id, "good morning team")
    # Held for a moment, perhaps: the window has just changed its size.
    await claude.send(requests.SendRequest(instance_id=lead.instance_id, message="and a message"))
    deadline = time.monotonic() + PATIENCE_S
    while not await has_said(claude, lead.instance_id, "and a message"):
        assert time.monotonic() < deadline, screen_of(claude_team, lead.instance_id)
        await asyncio.sleep(0.2)
    await claude.terminate(requests.TerminateRequest(instance_id=lead.instance_id))
