"""One connection for all calls: opened once, opened again when lost, with the reason when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.backoff import Backoff
from actors.errors import TeamNotRunningError, UnavailableError
from mcp_entry import connection
from mcp_entry.connection import BringUpLog, NoTeamError, OnStep, TeamConnection
from supervisor.team.file import step_line
from tests.fakes.gateway import FakeClient


class Machine(FakeClient):
    """A team that runs or not, and counts how often it is connected to and brought up."""

    def __init__(self, *, running: bool = False, failures: int = 0, losses: int = 0) -> None:
        """``failures``: bring-ups that fail; ``losses``: bring-ups after which the team is lost at once."""
        super().__init__()
        self.lose()
        self.running = running
        self.failures = failures
        self.losses = losses
        self.connections = 0
        self.brought_up = 0
        self.may_come_up = asyncio.Event()
        self.may_come_up.set()
        self.failed = asyncio.Event()
        self.brought_back = 0
        self.brought_down = False

    async def open(self) -> None:
        if self.brought_up and self.brought_up <= self.losses:
            raise TeamNotRunningError("The team was lost.")
        await super().open()
        self.connections += 1

    async def bring_up(self, on_step: OnStep) -> None:
        self.brought_up += 1
        on_step("starting Ray")
        await self.may_come_up.wait()
        if self.brought_up <= self.failures:
            self.failed.set()
            raise TeamNotRunningError("tmux is missing")
        self.running = True

    async def bring_back(self, on_step: OnStep) -> None:
        self.brought_back += 1
        if self.brought_down:
            raise NoTeamError("No team runs here.")
        await self.may_come_up.wait()
        if self.brought_back <= self.failures:
            self.failed.set()
            raise TeamNotRunningError("tmux is missing")
        self.running = True

    def team(self, patience_s: float = 5.0, *, reads_bring_up: bool = False) -> TeamConnection:
        return TeamConnection(
            self,
            self.bring_up,
            patience_s=patience_s,
            bring_back=self.bring_back,
            reads_bring_up=reads_bring_up,
            reach_after_s=0.0,
        )

    def crash(self) -> None:
        self.running = False
        self.lose()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost team is tried again at once."""
    monkeypatch.setattr(connection, "_REVIVE_BACKOFF", Backoff(0.0, 0.0))


@pytest.fixture
def machine() -> Machine:
    """Its team runs."""
    return Machine(running=True)


@pytest.fixture
async def team(machine: Machine) -> AsyncIterator[TeamConnection]:
    """Connected."""
    made = machine.team()
    await made.client()
    yield made
    await made.close()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until_connected(team: TeamConnection) -> None:
    async with asyncio.timeout(5):
        while not team.connected:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)


async def test_calls_at_the_same_time_share_one_attempt_and_one_connection() -> None:
    machine = Machine()
    team = machine.team()
    await asyncio.gather(team.client(), team.client())
    await team.client()
    assert (machine.connections, machine.brought_up) == (1, 1)


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
    team.reach_soon()
    async with asyncio.timeout(5):
        await machine.failed.wait()
    await turns()
    assert not (await team.client(only_reads=True)).closed
    assert (machine.brought_back, machine.brought_up) == (2, 0)


async def test_a_team_that_runs_or_was_lost_is_reached_without_a_call() -> None:
    for running in (True, False):
        machine = Machine(running=running)
        team = machine.team()
        team.reach_soon()
        await until_connected(team)
        assert machine.brought_up == 0
        await team.close()


async def test_where_no_team_was_lost_none_is_started_until_a_call_acts() -> None:
    machine = Machine()
    machine.brought_down = True
    team = machine.team()
    team.reach_soon()
    await turns()
    for _ in range(2):
        with pytest.raises(NoTeamError, match="No team runs here"):
            await team.client(only_reads=True)
    assert machine.brought_up == 0

    assert not (await team.client()).closed

    assert machine.brought_up == 1
    await team.client(only_reads=True)


async def test_a_call_that_reads_waits_for_a_team_that_another_call_is_bringing_up() -> None:
    machine = Machine()
    machine.brought_down = True
    machine.may_come_up.clear()
    team = machine.team()
    acts = asyncio.create_task(team.client())
    await turns()
    reads = asyncio.create_task(team.client(only_reads=True))
    await turns()
    machine.may_come_up.set()
    assert await reads is await acts
    assert (machine.brought_up, machine.brought_back) == (1, 0)


async def test_where_reads_bring_the_team_up_too_they_do_not_differ_from_other_calls() -> None:
    machine = Machine()
    machine.brought_down = True
    await machine.team(reads_bring_up=True).client(only_reads=True)
    assert machine.brought_up == 1


async def test_each_call_that_waits_is_told_the_steps_of_the_bring_up() -> None:
    machine = Machine()
    team = machine.team()
    first: list[str] = []
    second: list[str] = []
    await asyncio.gather(team.client(on_step=first.append), team.client(on_step=second.append))
    assert first == second == ["starting Ray"]


@pytest.mark.parametrize(("losses", "brought_up"), [(1, 2), (9, 3)])
async def test_a_team_that_is_lost_as_soon_as_it_is_there_is_brought_up_again_but_not_for_ever(
    losses: int, brought_up: int
) -> None:
    machine = Machine(losses=losses)
    team = machine.team()
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


async def test_a_lost_connection_is_opened_again(machine: Machine, team: TeamConnection) -> None:
    machine.lose()
    assert not team.connected
    await team.client()
    assert (machine.connections, machine.brought_up) == (2, 0)


async def test_a_team_that_was_taken_down_is_brought_up_again_by_the_next_call(
    machine: Machine, team: TeamConnection
) -> None:
    machine.crash()
    await team.client()
    assert machine.brought_up == 1


async def test_closing_ends_the_connection(team: TeamConnection) -> None:
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
    team.reach_soon()
    await team.close()
    await turns()
    assert (machine.brought_up, machine.brought_back) == (0, 0)


async def test_a_team_that_was_lost_is_brought_back_without_a_call(machine: Machine, team: TeamConnection) -> None:
    machine.crash()

    await until_connected(team)
    assert (machine.brought_back, machine.brought_up, machine.connections) == (1, 0, 2)
    machine.crash()
    await until_connected(team)
    assert machine.brought_back == 2


async def test_a_supervisor_that_came_back_by_itself_is_only_connected_to_again(
    machine: Machine, team: TeamConnection
) -> None:
    machine.lose()

    await until_connected(team)
    assert machine.brought_back == 0


@pytest.mark.usefixtures("no_pause")
async def test_a_team_that_was_brought_down_is_not_brought_back_until_a_call_asks_for_it(
    machine: Machine, team: TeamConnection
) -> None:
    machine.brought_down = True
    machine.crash()
    await turns()
    assert (machine.brought_back, team.connected) == (1, False)

    await team.client()

    assert machine.brought_up == 1


async def test_a_call_that_comes_while_a_team_turns_out_to_be_down_brings_it_up(
    machine: Machine, team: TeamConnection
) -> None:
    machine.failures = machine.brought_up = 1
    machine.may_come_up.clear()
    machine.crash()
    await turns()
    call = asyncio.create_task(team.client())
    await turns()
    machine.may_come_up.set()

    assert not (await call).closed
    assert (machine.brought_back, machine.brought_up) == (1, 2)


@pytest.mark.usefixtures("no_pause")
async def test_a_team_that_could_not_be_brought_back_is_tried_again_after_a_pause(
    machine: Machine, team: TeamConnection
) -> None:
    machine.failures = 2

    machine.crash()

    await until_connected(team)
    assert machine.brought_back == 3


async def test_a_team_that_a_call_has_brought_up_and_that_is_lost_again_is_brought_back_at_once(
    machine: Machine, team: TeamConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_REVIVE_BACKOFF", Backoff(3600.0, 3600.0))
    machine.failures = 1
    machine.crash()
    await turns(50)
    assert (machine.brought_back, team.connected) == (1, False)
    machine.failures = 0
    await team.client()

    machine.crash()

    await until_connected(team)
    assert machine.brought_back == 2


async def test_a_closed_team_brings_nothing_back(machine: Machine, team: TeamConnection) -> None:
    machine.running = False

    await team.close()

    await turns()
    assert machine.brought_back == 0


def written(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_each_step_of_a_bring_up_is_told_once_however_much_else_is_written(tmp_path: Path) -> None:
    path = tmp_path / "up.log"
    written(path, f"{step_line('10:00:00', 'of an earlier one')}\n")
    log = BringUpLog(path, path.stat().st_size)
    told = []
    for number in range(1, 5):
        written(path, f"{step_line('10:00:01', f'step {number}')}\n" + 30 * f"{'a warning of a library ':-<99}\n")
        told += log.new_steps()
    assert told == [f"step {number}" for number in range(1, 5)]
    assert log.new_steps() == []


def test_a_step_is_told_when_its_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "up.log"
    log = BringUpLog(path, 0)
    written(path, f"{step_line('10:00:00', 'starting Ray')}\n{step_line('10:00:01', 'waiting ')}")
    assert log.new_steps() == ["starting Ray"]
    written(path, "for it\n")
    assert log.new_steps() == ["waiting for it"]


def test_a_log_that_was_taken_away_has_no_steps_and_no_reason(tmp_path: Path) -> None:
    log = BringUpLog(tmp_path / "up.log", 120)
    assert (log.new_steps(), log.written()) == ([], "")
