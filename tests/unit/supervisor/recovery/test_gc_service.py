"""Terminated instances are cleared away by themselves, after a while and without loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from actors.home import Home
from supervisor.recovery import gc
from supervisor.recovery.gc import EVERY_S, KEPT, KEPT_S, GarbageCollector, GcService
from supervisor.team.registry import InstanceStage
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.recovery.test_collector import Scene

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "time", virtual_time.clock())


class Team(Scene):
    async def terminated(self, number: int) -> None:
        await self.add(number, InstanceStage.STOPPED, wanted=False)
        now = asyncio.get_running_loop().time()
        await self.team.save(f"spec_0_0_{number}", ended_at=now)

    def there(self) -> list[int]:
        return sorted(member.record.number for member in self.team.registry)


def played(test: Callable[[Team], Awaitable[None]]) -> None:
    async def play() -> None:
        team = Team()
        collector = GarbageCollector(Home(Path("/home")), team.team, team.disk, team.disk)  # type: ignore[arg-type]
        service = GcService(team.team, collector)
        await service.begin()
        try:
            await test(team)
        finally:
            await service.end()

    virtual_time.run(play)


def test_who_was_terminated_a_day_ago_goes_and_nobody_else() -> None:
    async def test(team: Team) -> None:
        await team.add(1, InstanceStage.RUNNING, wanted=True)
        await team.add(2, InstanceStage.STOPPED, wanted=True)
        await team.add(3, InstanceStage.FAILED, wanted=True)
        await team.add(4, InstanceStage.ENDING, wanted=False)
        await team.terminated(5)
        await asyncio.sleep(HOUR_S)
        await team.terminated(6)
        await asyncio.sleep(KEPT_S - HOUR_S - EVERY_S)
        assert team.there() == [1, 2, 3, 4, 5, 6]
        await asyncio.sleep(3 * EVERY_S)
        assert team.there() == [1, 2, 3, 4, 6]
        assert "spec_0_0_5" not in (*team.disk.worktrees, *team.disk.directories)
        await asyncio.sleep(KEPT_S)
        assert team.there() == [1, 2, 3, 4]

    played(test)


def test_of_very_many_those_that_were_terminated_first_go_at_once() -> None:
    async def test(team: Team) -> None:
        for number in range(1, KEPT + 4):
            await team.terminated(number)
            await asyncio.sleep(0.1)
        await asyncio.sleep(EVERY_S)
        assert team.there() == list(range(4, KEPT + 4))

    played(test)


def test_what_cannot_be_saved_stays_and_is_tried_again_now_and_then() -> None:
    async def test(team: Team) -> None:
        team.disk.stuck.add("spec_0_0_1")
        await team.terminated(1)
        await asyncio.sleep(KEPT_S + HOUR_S)
        assert team.there() == [1]
        assert team.disk.worktrees == ["spec_0_0_1"]
        team.disk.stuck.clear()
        await asyncio.sleep(KEPT_S)
        assert team.there() == []

    played(test)


def test_who_led_somebody_that_lives_stays_known() -> None:
    async def test(team: Team) -> None:
        await team.terminated(1)
        await team.add(2, InstanceStage.RUNNING, wanted=True)
        team.team.registry.change("spec_0_0_2", parent_id="spec_0_0_1")
        await asyncio.sleep(2 * KEPT_S)
        assert team.there() == [1, 2]

    played(test)


def test_a_supervisor_that_was_replaced_clears_nothing_away() -> None:
    async def test(team: Team) -> None:
        await team.terminated(1)
        team.store.is_fenced()
        await asyncio.sleep(2 * KEPT_S)
        assert team.there() == [1]
        assert team.disk.worktrees == ["spec_0_0_1"]

    played(test)
