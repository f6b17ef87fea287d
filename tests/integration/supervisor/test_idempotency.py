"""A call that was cancelled and is made again at once, by real spawns and sends."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from supervisor.api import requests, results
from tests.integration.supervisor.calls import agents, send, settle, specialist, texts
from tests.integration.supervisor.runs import LEAD, RestartableTeam, disagreements


@pytest.mark.parametrize("steps", [0, 1, 3, 30, "made"])
async def test_a_spawn_that_is_repeated_right_after_it_was_cancelled_gives_the_one_that_goes_on(
    team: RestartableTeam, steps: int | str
) -> None:
    run = await team.start_compared()
    request = specialist(team.repository, "the task", requestId="r1")
    registry = run.team.registry
    first = run.begin(run.supervisor.call("spawn", request, LEAD))
    if steps == "made":
        assert await run.team.changes.until(lambda: any(member.record.pid for member in registry), 20)
    else:
        for _ in range(int(steps)):
            await asyncio.sleep(0)
    first.cancel()
    again = await asyncio.gather(*(run.call("spawn", request) for _ in range(2)))
    assert first.cancelled()
    (instance_id,) = {cast("results.SpawnResult", one).instance_id for one in again}
    await settle(run, instance_id)
    assert set(agents(team)) == {instance_id}
    assert texts(team, instance_id) == ["the task"]
    assert await disagreements(team, run) == []


async def test_a_send_that_is_repeated_right_after_it_was_cancelled_has_sent_once(team: RestartableTeam) -> None:
    run = await team.start_compared()
    instance_id = cast("results.SpawnResult", await run.call("spawn", specialist(team.repository))).instance_id
    for number in range(5):
        messages = [requests.BatchMessage(instance_id=instance_id, message=f"number {number}")]
        request = requests.SendBatchRequest(messages=messages, request_id=f"r{number}")
        first = run.begin(run.supervisor.call("send_batch", request, LEAD))
        for _ in range(number):
            await asyncio.sleep(0)
        first.cancel()
        await send(run, instance_id, f"number {number}", request_id=f"r{number}")
    await settle(run, instance_id)
    assert texts(team, instance_id) == ["hello", *(f"number {number}" for number in range(5))]
