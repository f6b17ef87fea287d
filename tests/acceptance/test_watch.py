"""``phalanx watch`` beside a real team of demo agents whose supervisor is killed again and again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.processes import end_processes
from mcp_entry.cli.session import BROUGHT_DOWN
from mcp_entry.cli.watch import HELD
from supervisor.api.requests import SendRequest, WaitRequest
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.processes import called, of_ray, tell

pytestmark = pytest.mark.timeout(240)
PATIENCE_S = 90.0
"""Generous: two cores of a busy machine."""
ROUNDS = 4


@pytest.fixture(scope="module")
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


class Watcher:
    """A running ``phalanx watch``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            return (await self.process.stdout.readline()).decode()

    async def line_with(self, words: str) -> str:
        """The next one of these words: an alert may tell of what else the machine of the tests does."""
        while (line := await self.line()) and words not in line:
            pass
        return line

    async def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.line())
        return found

    async def code(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def watching(team: Team, *arguments: str) -> AsyncIterator[Watcher]:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("phalanx"),
        "watch",
        *arguments,
        env=dict(team.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Watcher(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_no_event_is_lost_or_doubled_though_the_supervisor_is_killed_between_them(
    team: Team, client: SupervisorClient
) -> None:
    spawned = [await client.spawn(team.specialist(f"hello {number}")) for number in range(2)]
    ids = [each.instance_id for each in spawned]
    await client.wait(WaitRequest(instance_ids=ids))
    sent: list[str] = []
    async with watching(team, "--json", "--since", "0") as watch:
        heard = [await watch.event()]
        for number in range(ROUNDS):
            asked = asyncio.gather(
                *(client.send(SendRequest(instance_id=one, message=f"go on {number}", wait=True)) for one in ids)
            )
            await asyncio.sleep(0.1 * number)  # a little later in each round
            tell(called(of_ray(team.home), "ray::_SupervisorServer"))
            sent += [each.message_id or "" for each in await asked]
            await client.wait(WaitRequest(instance_ids=ids))
        while sum(event["kind"] == "became_idle" for event in heard) < (ROUNDS + 1) * len(ids):
            heard.append(await watch.event())
        last = await client.send(SendRequest(instance_id=ids[0], message="last", wait=True))
        while (event := await watch.event()).get("messageId") != last.message_id:
            heard.append(event)
    assert [event["number"] for event in heard] == list(range(1, len(heard) + 1))
    settled = [event["messageId"] for event in heard if event["kind"] == "message_final"]
    assert sorted(settled) == sorted(sent)
    idle = [event["instanceId"] for event in heard if event["kind"] == "became_idle"]
    assert {one: idle.count(one) for one in ids} == dict.fromkeys(ids, ROUNDS + 1)


async def test_it_ends_when_the_named_agent_is_idle_also_when_it_is_so_already(
    team: Team, client: SupervisorClient
) -> None:
    spawned = await client.spawn(team.specialist("@@demo busy 10", name="builder"))
    async with watching(team, "--until", "idle", "builder") as watch:
        assert await watch.line_with("became idle")
        assert await watch.code() == 0
    async with watching(team, "--until", "idle", spawned.instance_id) as watch:
        assert (await watch.line(), await watch.code()) == ("", 0)


async def test_one_that_asks_ends_a_watch_for_attention_with_0_and_one_for_its_idleness_with_3(
    team: Team, client: SupervisorClient
) -> None:
    spawned = await client.spawn(team.specialist('@@demo dialog Bash {"command": "ls"}'))
    async with watching(team, "--until", "attention") as watch:
        assert await watch.code() == 0
    async with watching(team, "--until", "idle", spawned.instance_id) as watch:
        assert await watch.code() == HELD


@pytest.fixture
def other_team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


async def test_it_goes_on_when_all_of_ray_is_lost_and_ends_with_a_code_of_its_own_when_the_team_is_brought_down(
    other_team: Team,
) -> None:
    team = other_team
    async with watching(team, "--since", "0") as watch:  # it may begin to listen only after the first event
        async with await team.connect() as client:
            await client.spawn(team.specialist())
        assert await watch.line_with("became idle")
        end_processes(of_ray(team.home), grace_s=0)
        await asyncio.to_thread(team.runtime.up, team.environment, lambda step: None)
        async with await team.connect() as client:
            await client.spawn(team.specialist("hello again"))
        assert await watch.line_with("became idle")
        await asyncio.to_thread(team.runtime.down, lambda step: None)
        assert await watch.code() == BROUGHT_DOWN
        assert watch.process.stderr is not None
        assert b"was brought down" in await watch.process.stderr.read()
