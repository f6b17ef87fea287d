"""What a lead asks of a life of the supervisor, and what can be seen of it from outside."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Mapping
from typing import cast

from actors.agents.base import RunningAgent
from actors.messages import Receipt
from actors.status import Status
from actors.tmux.server import TmuxServer
from supervisor.api import requests, results
from supervisor.api.requests import BatchMessage
from tests.integration.supervisor.asking import received, specialist
from tests.integration.supervisor.lives import Killed, Life, Team

BUSY = "@@demo busy 60"
PATIENCE_S = 40.0
"""Generous: two cores of a busy machine."""


async def dies(deed: Awaitable[object]) -> bool:
    """Whether the life ends before the deed does."""
    try:
        await deed
    except Killed:
        return True
    return False


async def spawn(life: Life, team: Team, context: str = "hello", **more: object) -> str:
    request = specialist(team.repository, context, **more)
    return cast("results.SpawnResult", await life.call("spawn", request)).instance_id


async def send(life: Life, instance_id: str, *texts: str, request_id: str | None = None) -> list[results.SendResult]:
    messages = [BatchMessage(instance_id=instance_id, message=text) for text in texts]
    request = requests.SendBatchRequest(messages=messages, request_id=request_id)
    return cast("results.SendBatchResult", await life.call("send_batch", request)).results


async def listed(life: Life) -> Mapping[str, results.InstanceInfo]:
    found = cast("results.ListResult", await life.call("list", requests.ListRequest(include_stopped=True)))
    return {info.instance_id: info for info in found.instances}


async def settle(life: Life, *ids: str) -> None:
    waited = await life.call("wait", requests.WaitRequest(instance_ids=list(ids), timeout_seconds=PATIENCE_S))
    assert cast("results.WaitResult", waited).reached


async def until(life: Life, instance_id: str, *statuses: Status) -> results.InstanceInfo:
    """Waits until the instance is in one of these."""
    member = life.supervisor._team.registry.get(instance_id)
    assert await life.supervisor._team.changes.until(lambda: member.snapshot.status in statuses, PATIENCE_S)
    return (await listed(life))[instance_id]


def receipt_of(life: Life, sent: results.SendResult) -> Receipt:
    found = life.supervisor._team.outbox.receipt(sent.message_id or "")
    assert found is not None
    return found


def agents(team: Team) -> Mapping[str, RunningAgent]:
    return {agent.session_name: agent for agent in TmuxServer(team.home.tmux_socket).agents()}


def texts(team: Team, instance_id: str) -> list[str]:
    """The lines that are no headers, of everything that the agent was told."""
    lines = [line for prompt in received(team.home, instance_id) for line in prompt.splitlines()]
    return [line for line in lines if line and not line.startswith("[phalanx")]


def kill_agent(team: Team, instance_id: str) -> None:
    os.kill(agents(team)[instance_id].pid, signal.SIGKILL)


async def gone(team: Team, instance_id: str) -> None:
    """Waits until tmux has noticed."""
    for _ in range(500):
        there = agents(team).get(instance_id)
        if there is None or not there.alive:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(instance_id)


async def terminate(life: Life, instance_id: str) -> results.TerminatedInstance:
    (ended,) = (await life.call("terminate", requests.TerminateRequest(instance_id=instance_id))).terminated
    return cast("results.TerminatedInstance", ended)
