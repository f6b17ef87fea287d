"""A whole team for tests: home, runtime, Ray, tmux, agents; brought up and down by the real means."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from actors.home import Home
from supervisor.api.requests import Role, SpawnRequest, TerminateRequest
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from tests.projects import make_repository, shell_environment


@dataclass(frozen=True, slots=True)
class Team:
    """A team that is up. ``repository`` is a fresh one with one commit."""

    home: Home
    environment: Mapping[str, str]
    repository: Path
    runtime: Runtime

    async def connect(self, sender: str = "lead") -> SupervisorClient:
        return await SupervisorClient.connect(self.home, sender=sender)

    def specialist(self, context: str = "hello", **more: object) -> SpawnRequest:
        fields = {"role": Role.SPECIALIST, "work_dir": str(self.repository), "context": context, **more}
        return SpawnRequest.model_validate(fields)


def bring_up(directory: Path, **environment: str) -> Team:
    home = Home(directory / "h")
    variables = shell_environment(home, **environment)
    runtime = Runtime(home, Settings.load(home, variables))
    runtime.up(variables, lambda step: None)
    return Team(home, variables, make_repository(directory / "project"), runtime)


async def terminate_all(client: SupervisorClient) -> None:
    left = [each.instance_id for each in (await client.list()).instances]
    if left:
        await client.terminate(TerminateRequest(instance_ids=left))


async def anew(team: Team) -> Team:
    """The same team for one more test: up, with nobody in it and a repository of its own. A bring-up costs seconds."""
    await asyncio.to_thread(team.runtime.up, team.environment, lambda step: None)
    async with await team.connect() as client:
        await terminate_all(client)
    return replace(team, repository=make_repository(team.repository.parent / f"project-{uuid.uuid4().hex[:8]}"))
