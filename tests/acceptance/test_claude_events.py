"""The events of real Claude Code instances: the answer's own words, the exact question, and each thing once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from supervisor.api import requests
from supervisor.api.results import TeamEvent
from supervisor.rpc.client import SupervisorClient
from supervisor.team.queries import LASTS_S
from tests.acceptance.team import Team

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300), pytest.mark.each_version]
PATIENCE_S = 60.0
QUESTIONS = {
    "questions": [
        {
            "question": "Which database?",
            "header": "Database",
            "multiSelect": False,
            "options": [{"label": "Postgres", "description": "big"}, {"label": "SQLite", "description": "small"}],
        }
    ]
}


async def following(events: AsyncIterator[TeamEvent]) -> TeamEvent:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(events)


async def test_turns_questions_interrupts_and_failures_are_told_in_their_own_words(
    claude: SupervisorClient, claude_team: Team
) -> None:
    start = (await claude.next_events(requests.EventsRequest(timeout_seconds=0.001))).cursor
    events = claude.events("became_idle", "needs_attention", "failed", cursor=start)
    spawned = await claude.spawn(claude_team.specialist("hello", permission_mode="default", name="asker"))
    instance_id = spawned.instance_id

    async def send(text: str) -> None:
        await claude.send(requests.SendRequest(instance_id=instance_id, message=text, wait=True))

    first = await following(events)
    assert (first.kind, first.text, first.name) == ("became_idle", "echo: hello", "asker")

    command = {"command": "touch asked-for", "description": "Touch a file"}
    await send(f"@@tool Bash {json.dumps(command)}")
    question = await following(events)
    assert (question.kind, question.text) == ("needs_attention", f"asks to use Bash: {json.dumps(command)}")
    await asyncio.sleep(LASTS_S + 1)  # it lasts, and is told no second time
    await claude.respond(
        requests.RespondRequest(instance_id=instance_id, decision="allow", permission_id=question.permission_id)
    )
    answered = await following(events)
    assert (answered.kind, answered.text.startswith("tool result:")) == ("became_idle", True)

    await send(f"@@tool AskUserQuestion {json.dumps(QUESTIONS)}")
    question = await following(events)
    assert question.text == "Which database?\n1. Postgres\n2. SQLite"
    await claude.respond(
        requests.RespondRequest(
            instance_id=instance_id,
            decision="allow",
            message="SQLite",
            permission_id=question.permission_id,
        )
    )
    assert (await following(events)).kind == "became_idle"

    await send("@@slow 60")
    await claude.interrupt(requests.InterruptRequest(instance_id=instance_id))
    interrupted = await following(events)
    assert (interrupted.kind, interrupted.text) == ("became_idle", "")

    for text in ("@@status 400 the model is not there", "once more"):  # the stand-in refuses both
        await send(text)
        failed = await following(events)
        assert (failed.kind, "the last turn failed" in failed.text) == ("needs_attention", True)
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))
