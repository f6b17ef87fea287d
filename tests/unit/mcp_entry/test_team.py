"""One connection for all calls: opened once, opened again when lost, and honest when it cannot be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.backoff import Backoff
from actors.errors import TeamNotRunningError, UnavailableError
from mcp_entry import connection as team_module
from mcp_entry.connection import TeamConnection
from tests.fakes.gateway import FakeClient


class LosableClient(FakeClient):
    def __init__(self) -> None:
        super().__init__()
        self.loss = asyncio.Event()

    async def close(self) -> None:
        self.lose()

    def lose(self) -> None:
        self.lost = True
        self.loss.set()

    async def until_lost(self) -> None:
        await self.loss.wait()


class Machine:
    """A team that runs or not, and counts how often it is connected to and brought up."""

    def __init__(self, *, running: bool = False, failures: int = 0) -> None:
        self.running = running
        self.failures = failures
        self.connections: list[LosableClient] = []
        self.brought_up = 0
        self.may_come_up = asyncio.Event()
        self.may_come_up.set()
        self.failed = asyncio.Event()
        self.revived = 0
        self.brought_down = False

    async def connect(self) -> Any:
        if not self.running:
            raise TeamNotRunningError("No team.")
        self.connections.append(LosableClient())
        return self.connections[-1]

    async def bring_up(self) -> None:
        self.brought_up += 1
        await self.may_come_up.wait()
        if self.brought_up <= self.failures:
            self.failed.set()
            raise TeamNotRunningError("tmux is missing")
        self.running = True

    async def revive(self) -> bool:
        self.revived += 1
        if self.brought_down:
            return False
        await self.may_come_up.wait()
        if self.revived <= self.failures:
            raise TeamNotRunningError("tmux is missing")
        self.running = True
        return True

    def team(self, patience_s: float = 5.0) -> TeamConnection:
        return TeamConnection(self.connect, self.bring_up, patience_s=patience_s, revive=self.revive, begin_after_s=0.0)

    def crash(self) -> None:
        self.running = False
        self.connections[-1].lose()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until_connected(team: TeamConnection) -> None:
    async with asyncio.timeout(5):
        while not team.connected:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)


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


@pytest.mark.parametrize(("losses", "brought_up"), [(1, 2), (9, 3)])
async def test_a_team_that_is_lost_as_soon_as_it_is_there_is_brought_up_again_but_not_for_ever(
    losses: int, brought_up: int
) -> None:
    machine = Machine()

    async def connect() -> Any:
        if machine.brought_up <= losses:
            raise TeamNotRunningError("The team was lost.")
        return await machine.connect()

    team = TeamConnection(connect, machine.bring_up, patience_s=5.0)
    if losses < brought_up:
        assert not (await team.client()).closed
    else:
        with pytest.raises(TeamNotRunningError, match="was lost"):
            await team.client()
    assert machine.brought_up == brought_up


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


async def test_a_team_that_was_lost_is_brought_back_without_a_call() -> None:
    machine = Machine(running=True)
    team = machine.team()
    await team.client()

    machine.crash()

    await until_connected(team)
    assert (machine.revived, machine.brought_up, len(machine.connections)) == (1, 0, 2)
    machine.crash()
    await until_connected(team)
    assert machine.revived == 2
    await team.close()


async def test_a_supervisor_that_came_back_by_itself_is_only_connected_to_again() -> None:
    machine = Machine(running=True)
    team = machine.team()
    await team.client()

    machine.connections[0].lose()

    await until_connected(team)
    assert machine.revived == 0
    await team.close()


async def test_a_team_that_was_brought_down_is_not_brought_back_until_a_call_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(team_module, "_REVIVE_BACKOFF", Backoff(0.0, 0.0))
    machine = Machine(running=True)
    team = machine.team()
    await team.client()
    machine.brought_down = True
    machine.crash()
    await turns()
    assert (machine.revived, team.connected) == (1, False)

    await team.client()

    assert machine.brought_up == 1
    await team.close()


async def test_a_call_that_comes_while_a_team_turns_out_to_be_down_brings_it_up() -> None:
    machine = Machine(running=True, failures=1)
    machine.brought_up = 1
    team = machine.team()
    await team.client()
    machine.may_come_up.clear()
    machine.crash()
    await turns()
    call = asyncio.create_task(team.client())
    await turns()
    machine.may_come_up.set()

    assert not (await call).closed
    assert (machine.revived, machine.brought_up) == (1, 2)
    await team.close()


async def test_a_team_that_could_not_be_brought_back_is_tried_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(team_module, "_REVIVE_BACKOFF", Backoff(0.0, 0.0))
    machine = Machine(running=True, failures=2)
    team = machine.team()
    await team.client()

    machine.crash()

    await until_connected(team)
    assert machine.revived == 3
    await team.close()


async def test_a_closed_team_brings_nothing_back() -> None:
    machine = Machine(running=True)
    team = machine.team()
    await team.client()
    machine.running = False

    await team.close()

    await turns()
    assert machine.revived == 0
