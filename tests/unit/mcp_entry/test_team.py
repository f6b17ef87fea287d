"""One connection for all calls: opened once, opened again when lost, and honest when it cannot be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.errors import TeamNotRunningError, UnavailableError
from mcp_entry.team import Team
from tests.unit.mcp_entry.fakes import FakeClient


class Machine:
    """A team that runs or not, and counts how often it is connected to and brought up."""

    def __init__(self, *, running: bool = False, failures: int = 0) -> None:
        self.running = running
        self.failures = failures
        self.connections: list[FakeClient] = []
        self.brought_up = 0
        self.may_come_up = asyncio.Event()
        self.may_come_up.set()
        self.failed = asyncio.Event()

    async def connect(self) -> Any:
        if not self.running:
            raise TeamNotRunningError("No team.")
        self.connections.append(FakeClient())
        return self.connections[-1]

    async def bring_up(self) -> None:
        self.brought_up += 1
        await self.may_come_up.wait()
        if self.brought_up <= self.failures:
            self.failed.set()
            raise TeamNotRunningError("tmux is missing")
        self.running = True

    def team(self, patience_s: float = 5.0) -> Team:
        return Team(self.connect, self.bring_up, patience_s=patience_s, begin_after_s=0.0)


async def test_a_running_team_is_not_brought_up() -> None:
    machine = Machine(running=True)
    await machine.team().client()
    assert machine.brought_up == 0


async def test_calls_at_the_same_time_share_one_attempt_and_one_connection() -> None:
    machine = Machine()
    team = machine.team()
    first, second = await asyncio.gather(team.client(), team.client())
    assert first is second
    assert await team.client() is first
    assert machine.brought_up == 1


async def test_the_reason_why_the_team_does_not_come_up_is_told_and_the_next_call_tries_again() -> None:
    machine = Machine(failures=1)
    team = machine.team()
    with pytest.raises(TeamNotRunningError, match="tmux is missing"):
        await team.client()
    await team.client()
    assert machine.brought_up == 2


async def test_an_attempt_in_the_background_that_failed_is_made_again_by_the_first_call() -> None:
    machine = Machine(failures=1)
    team = machine.team()
    team.begin_soon()
    async with asyncio.timeout(5):
        await machine.failed.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not (await team.client()).closed


async def test_waiting_for_the_team_is_bounded_and_does_not_end_its_start() -> None:
    machine = Machine()
    machine.may_come_up.clear()
    team = machine.team(patience_s=0.01)
    with pytest.raises(UnavailableError, match="still starting"):
        await team.client()
    machine.may_come_up.set()
    await machine.team().client()
    assert machine.running


async def test_a_cancelled_call_does_not_end_the_start_of_the_team_for_others() -> None:
    machine = Machine()
    machine.may_come_up.clear()
    team = machine.team()
    gone, stays = asyncio.create_task(team.client()), asyncio.create_task(team.client())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    machine.may_come_up.set()
    assert not (await stays).closed
    assert machine.brought_up == 1


async def test_a_lost_connection_is_opened_again() -> None:
    machine = Machine(running=True)
    team = machine.team()
    first = await team.client()
    await first.close()
    assert not team.connected
    assert await team.client() is not first
    assert machine.brought_up == 0


async def test_a_team_that_was_taken_down_is_brought_up_again_by_the_next_call() -> None:
    machine = Machine(running=True)
    team = machine.team()
    await (await team.client()).close()
    machine.running = False
    await team.client()
    assert machine.brought_up == 1


async def test_closing_ends_the_connection() -> None:
    team = Machine(running=True).team()
    client = await team.client()
    await team.close()
    assert client.closed


async def test_closing_ends_an_attempt_under_way() -> None:
    machine = Machine()
    machine.may_come_up.clear()
    team = machine.team()
    waiting = asyncio.create_task(team.client())
    await asyncio.sleep(0)
    await team.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    machine.may_come_up.set()
    await asyncio.sleep(0)
    assert not machine.running


async def test_a_client_that_leaves_soon_brings_up_no_team() -> None:
    machine = Machine()
    team = machine.team()
    team.begin_soon()
    await team.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert machine.brought_up == 0
