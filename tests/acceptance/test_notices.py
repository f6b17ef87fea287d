"""A command of the user's beside a real team of demo agents whose supervisor is killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.processes import called, of_ray, tell

pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 120.0
"""Generous: two cores of a busy machine, on which a killed supervisor may be long in coming back."""
ROUNDS = 2
ASKS = '@@demo dialog Bash {"command": "make"}'


class Told:
    """What the command was given."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "told"
        self.broken = directory / "broken"
        self.file.touch()

    @property
    def command(self) -> list[str]:
        """Fails while the file ``broken`` is there."""
        program = (
            "import pathlib, sys\n"
            "told, broken = map(pathlib.Path, sys.argv[1:])\n"
            "broken.exists() and sys.exit('the bell is broken')\n"
            "told.open('a').write(sys.stdin.read())"
        )
        return [sys.executable, "-c", program, str(self.file), str(self.broken)]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def of(self, name: str) -> list[str]:
        return [event["kind"] for event in self.events if event.get("name") == name]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - of a file that another process writes
            await asyncio.sleep(0.1)


async def warnings_once(client: SupervisorClient, *, wanted: bool) -> list[str]:
    """The team's, as soon as there are some, or none."""
    async with asyncio.timeout(PATIENCE_S):
        while bool(warnings := (await client.status()).warnings) != wanted:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)
    return warnings


@pytest.fixture(scope="module")
def directory(make_short_tmp: Callable[[], Path]) -> Path:
    return make_short_tmp()


@pytest.fixture(scope="module")
def told(directory: Path) -> Told:
    return Told(directory)


@pytest.fixture(scope="module")
def team(directory: Path, told: Told) -> Iterator[Team]:
    (directory / "h").mkdir(mode=0o700)
    settings = f"notify_command = {json.dumps(told.command)}\nnotify_kinds = ['needs_attention', 'failed']\n"
    (directory / "h/config.toml").write_text(settings)
    team = bring_up(directory, PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


async def test_the_command_hears_of_each_question_once_though_the_supervisor_is_killed(
    team: Team, told: Told, client: SupervisorClient
) -> None:
    await client.spawn(team.specialist(ASKS, name="first"))
    await until(lambda: told.of("first") == ["needs_attention"])
    assert "make" in told.events[0]["text"]
    for number in range(ROUNDS):
        name = f"asks{number}"
        spawned = await client.spawn(team.specialist(name=name))
        await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
        await client.send(requests.SendRequest(instance_id=spawned.instance_id, message=ASKS))
        tell(called(of_ray(team.home), "ray::_SupervisorServer"))
        await until(lambda name=name: told.of(name) != [])  # type: ignore[misc]
    await client.spawn(team.specialist(ASKS, name="last"))
    await until(lambda: told.of("last") != [])
    assert {event["kind"] for event in told.events} == {"needs_attention"}
    names = [event["name"] for event in told.events]
    assert sorted(names) == sorted(["first", *(f"asks{number}" for number in range(ROUNDS)), "last"])


async def test_a_command_that_fails_is_a_warning_of_the_team_until_it_works_again(
    team: Team, told: Told, client: SupervisorClient
) -> None:
    told.broken.touch()
    await client.spawn(team.specialist(ASKS, name="unheard"))
    assert await warnings_once(client, wanted=True) == [
        f"notify_command does not work, so it tells nobody: {sys.executable} ended with exit status 1. "
        "It said: the bell is broken"
    ]
    told.broken.unlink()
    await client.spawn(team.specialist(ASKS, name="heard"))
    await until(lambda: told.of("heard") != [])
    await warnings_once(client, wanted=False)
    assert told.of("unheard") == []
