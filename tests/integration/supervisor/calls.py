"""What a lead asks of a run of the supervisor, and what can be seen of it from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import cast

from actors.agents.base import RunningAgent
from actors.home import Home
from actors.messages import Receipt
from actors.status import Status
from actors.tmux.server import TmuxServer
from supervisor.api import requests, results
from supervisor.api.requests import BatchMessage, SpawnRequest
from supervisor.supervisor import Supervisor
from tests.integration.supervisor.runs import LEAD, Killed, RestartableTeam, SupervisorRun

BUSY = "@@demo busy 60"
PATIENCE_S = 40.0
"""Generous: two cores of a busy machine."""


def specialist(repository: Path, context: str = "hello", **more: object) -> SpawnRequest:
    fields = {"role": "specialist", "workDir": str(repository), "context": context, **more}
    return SpawnRequest.model_validate(fields)


async def settle_supervisor(supervisor: Supervisor, *ids: str, timeout_s: float = 40) -> None:
    waited = await supervisor.wait(requests.WaitRequest(instance_ids=list(ids), timeout_seconds=timeout_s), LEAD)
    assert waited.reached


def received(home: Home, instance_id: str) -> list[str]:
    """Every prompt that the agent itself logged."""
    log = home.instance_directory(instance_id) / "demo-log.jsonl"
    return [json.loads(line)["prompt"] for line in log.read_text().split("\n") if line]


async def is_killed(call: Awaitable[object]) -> bool:
    """Whether the run ends before the call does."""
    try:
        await call
    except Killed:
        return True
    return False


async def spawn(run: SupervisorRun, team: RestartableTeam, context: str = "hello", **more: object) -> str:
    request = specialist(team.repository, context, **more)
    return cast("results.SpawnResult", await run.call("spawn", request)).instance_id


async def send(
    run: SupervisorRun, instance_id: str, *texts: str, request_id: str | None = None
) -> list[results.SendResult]:
    messages = [BatchMessage(instance_id=instance_id, message=text) for text in texts]
    request = requests.SendBatchRequest(messages=messages, request_id=request_id)
    return cast("results.SendBatchResult", await run.call("send_batch", request)).results


async def listed(run: SupervisorRun) -> Mapping[str, results.InstanceInfo]:
    found = cast("results.ListResult", await run.call("list", requests.ListRequest(include_stopped=True)))
    return {info.instance_id: info for info in found.instances}


async def settle(run: SupervisorRun, *ids: str) -> None:
    waited = await run.call("wait", requests.WaitRequest(instance_ids=list(ids), timeout_seconds=PATIENCE_S))
    assert cast("results.WaitResult", waited).reached


async def until(run: SupervisorRun, instance_id: str, *statuses: Status) -> results.InstanceInfo:
    """Waits until the instance is in one of these."""
    member = run.team.registry.get(instance_id)
    assert await run.team.changes.until(lambda: member.snapshot.status in statuses, PATIENCE_S)
    return (await listed(run))[instance_id]


def receipt_of(run: SupervisorRun, sent: results.SendResult) -> Receipt:
    found = run.team.outbox.receipt(sent.message_id or "")
    assert found is not None
    return found


def agents(team: RestartableTeam) -> Mapping[str, RunningAgent]:
    return {agent.session_name: agent for agent in TmuxServer(team.home.tmux_socket).agents()}


def texts(team: RestartableTeam, instance_id: str) -> list[str]:
    """The lines that are no headers, of everything that the agent was told."""
    lines = [line for prompt in received(team.home, instance_id) for line in prompt.splitlines()]
    return [line for line in lines if line and not line.startswith("[phalanx")]


def kill_agent(team: RestartableTeam, instance_id: str) -> None:
    os.kill(agents(team)[instance_id].pid, signal.SIGKILL)


async def gone(team: RestartableTeam, instance_id: str) -> None:
    """Waits until tmux has noticed."""
    for _ in range(500):
        there = agents(team).get(instance_id)
        if there is None or not there.alive:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(instance_id)


async def terminate(run: SupervisorRun, instance_id: str) -> results.TerminatedInstance:
    (ended,) = (await run.call("terminate", requests.TerminateRequest(instance_id=instance_id))).terminated
    return cast("results.TerminatedInstance", ended)
