"""Limits over the real Claude Code: of tokens, held until raised; of the account, waited for and gone on from."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest

from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api import requests, results
from supervisor.rpc.client import SupervisorClient
from supervisor.team.rate_limits import GO_ON
from tests.acceptance.team import Team
from tests.standin.api import Answer, ApiStandIn, Json

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]
PATIENCE_S = 60.0


class Api(ApiStandIn):
    """Refuses everything until ``limited_until``, as for an account whose limit is reached."""

    limited_until = 0

    def answer(self, request: Json) -> Answer:
        answer = ApiStandIn.answer(self, request)
        if time.time() < self.limited_until:
            answer.obey("status", "429", f"Claude AI usage limit reached|{self.limited_until}")
            answer.obey("header", "x-should-retry", "false")
        return answer


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    standin = Api()
    with standin:
        yield standin


async def until(
    claude: SupervisorClient, instance_id: str, satisfied: Callable[[results.InstanceInfo], object]
) -> results.InstanceInfo:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (info,) = (await claude.list(requests.ListRequest(instance_ids=[instance_id]))).instances
            if satisfied(info):
                return info
            await asyncio.sleep(0.05)


async def send(claude: SupervisorClient, instance_id: str, message: str) -> results.SendResult:
    return await claude.send(requests.SendRequest(instance_id=instance_id, message=message, wait=True))


async def conversation(claude: SupervisorClient, instance_id: str) -> list[results.ConversationEntry]:
    return (await claude.read(requests.ReadRequest(instance_id=instance_id))).entries


async def test_a_used_up_limit_of_tokens_holds_what_comes_until_it_is_raised(
    claude: SupervisorClient, claude_team: Team
) -> None:
    spawned = await claude.spawn(claude_team.specialist("@@usage 4300", limits={"tokens": 5000}))
    instance_id = spawned.instance_id
    near = await until(claude, instance_id, lambda info: (info.tokens.counted or 0) >= 4300)
    assert (near.tokens.limit, near.needs_attention) == (5000, False)
    await send(claude, instance_id, "@@usage 1000")
    held = await until(claude, instance_id, lambda info: info.needs_attention)
    assert "its token limit of 5000 is used up" in (held.reason or "")
    sent = await send(claude, instance_id, "after the limit")
    assert sent.status is MessageStatus.BLOCKED
    assert "token limit" in (sent.reason or "")

    raised = await claude.limit(requests.LimitRequest(instance_id=instance_id, limits=requests.Limits(tokens=50_000)))

    assert (raised.limits.tokens, raised.reason) == (50_000, None)
    await until(claude, instance_id, lambda info: info.status is Status.READY and not info.queued_messages)
    said = await conversation(claude, instance_id)
    assert [entry.text for entry in said if entry.kind == "answer"][-1] == "echo: after the limit"
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))


async def test_tokens_of_a_subagent_count(claude: SupervisorClient, claude_team: Team) -> None:
    task = {"description": "look", "prompt": "@@usage 3000\nlook around", "subagent_type": "general-purpose"}
    message = f"@@tool Agent {json.dumps(task)}"
    spawned = await claude.spawn(claude_team.specialist(message, limits={"tokens": 1_000_000}))
    counted = await until(claude, spawned.instance_id, lambda info: (info.tokens.counted or 0) >= 3000)
    assert (counted.tokens.counted or 0) < 4000
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))


async def test_a_limit_of_the_account_is_waited_for_and_work_goes_on(
    claude: SupervisorClient, claude_team: Team, api: Api
) -> None:
    spawned = await claude.spawn(claude_team.specialist("before the limit"))
    instance_id = spawned.instance_id
    await claude.wait(requests.WaitRequest(instance_ids=[instance_id]))
    api.limited_until = int(time.time()) + 10
    await send(claude, instance_id, "the task")
    limited = await until(claude, instance_id, lambda info: info.status is Status.RATE_LIMITED)
    assert "the last turn failed" in (limited.reason or "")
    sent = await send(claude, instance_id, "and this")
    assert sent.status is MessageStatus.BLOCKED
    assert "resets at" in (sent.reason or "")

    other = await claude.spawn(claude_team.specialist("the other"))

    assert time.time() >= api.limited_until, "it was started before the limit had ended"
    await claude.wait(requests.WaitRequest(instance_ids=[instance_id, other.instance_id], timeout_seconds=PATIENCE_S))
    said = await conversation(claude, instance_id)
    asked = "\n".join(entry.text for entry in said if entry.kind == "question")
    assert asked.count(GO_ON) == 1
    assert asked.index("the task") < asked.index(GO_ON) < asked.index("and this")
    assert [entry.text for entry in said if entry.kind == "answer"][-1] == "echo: and this"
    for each in (instance_id, other.instance_id):
        await claude.terminate(requests.TerminateRequest(instance_id=each))
