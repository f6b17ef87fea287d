"""What the tests of the verbs ask again and again."""

from __future__ import annotations

import json
from pathlib import Path

from actors.home import Home
from supervisor.api import requests
from supervisor.api.requests import SpawnRequest
from supervisor.supervisor import Supervisor
from tests.integration.supervisor.conftest import LEAD


def specialist(repository: Path, context: str = "hello", **more: object) -> SpawnRequest:
    fields = {"role": "specialist", "workDir": str(repository), "context": context, **more}
    return SpawnRequest.model_validate(fields)


async def settle(supervisor: Supervisor, *ids: str, timeout_s: float = 40) -> None:
    waited = await supervisor.wait(requests.WaitRequest(instance_ids=list(ids), timeout_seconds=timeout_s), LEAD)
    assert waited.reached


def received(home: Home, instance_id: str) -> list[str]:
    """Every prompt that the agent itself logged."""
    log = home.instance_directory(instance_id) / "demo-log.jsonl"
    return [json.loads(line)["prompt"] for line in log.read_text().split("\n") if line]
