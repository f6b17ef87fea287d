"""Real Claude Code instances that lead are told what happened below them: in their own conversation, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.acceptance.test_claude_instances import prompts

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]
PATIENCE_S = 90.0
_CALM_S = 2.0


async def until(satisfied: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not satisfied():  # noqa: ASYNC110 - Claude Code writes its transcript by itself
            await asyncio.sleep(0.05)


async def test_a_manager_is_told_once_of_each_answer_and_of_the_request_that_it_may_decide(
    claude: SupervisorClient, claude_team: Team
) -> None:
    def told(words: str) -> list[str]:
        return [prompt for prompt in prompts(claude_team) if " from team]\n" in prompt and words in prompt]

    lead = claude_team.specialist("You lead.", role=Role.MANAGER, answers="permissions")
    manager = (await claude.spawn(lead)).instance_id
    one = (await claude.spawn(claude_team.specialist("the first task", parent_id=manager))).instance_id
    await until(lambda: told("> echo: the first task"))
    for number in range(3):
        await claude.wait(requests.WaitRequest(instance_ids=[manager, one]))
        await claude.send(requests.SendRequest(instance_id=one, message=f"task {number}."))
        await until(partial(told, f"> echo: task {number}."))

    asks = '@@tool Bash {"command": "touch made-by-bash", "description": "make it"}'
    await claude.send(requests.SendRequest(instance_id=one, message=asks))
    await until(lambda: told(f"{one} waits for an answer:"))
    (info,) = (await claude.list(requests.ListRequest(needs_attention=True))).instances
    assert info.permission is not None
    assert f"Answer with respond, permissionId {info.permission.permission_id}." in told("waits for an answer")[0]
    answer = requests.RespondRequest(instance_id=one, decision="allow", permission_id=info.permission.permission_id)
    await claude.respond(answer)
    await until(lambda: told("> tool result:"))
    await asyncio.sleep(_CALM_S)

    counts = [len(told(f"> echo: task {number}.")) for number in range(3)]
    assert (len(told("> echo: the first task")), counts, len(told("waits for an answer"))) == (1, [1, 1, 1], 1)
    for instance_id in (one, manager):
        await claude.terminate(requests.TerminateRequest(instance_id=instance_id))
