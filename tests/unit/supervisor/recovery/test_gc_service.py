"""Terminated instances are cleared away by themselves, after a while and without loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.home import Home
from supervisor.recovery.gc import EVERY_S, KEPT, KEPT_S, GarbageCollector, GcService
from supervisor.team.registry import InstanceStage
from tests.unit.supervisor.recovery.test_collector import Scene

HOUR_S = 3600.0


class Team(Scene):
    async def terminated(self, number: int) -> None:
        await self.add(number, InstanceStage.STOPPED, wanted=False)
        now = asyncio.get_running_loop().time()
        await self.team.save(f"spec_0_0_{number}", ended_at=now)

    def there(self) -> list[int]:
        return sorted(member.record.number for member in self.team.registry)


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    made = Team()
    collector = GarbageCollector(Home(Path("/home")), made.team, made.disk, made.disk)  # type: ignore[arg-type]
    service = GcService(made.team, collector)
    await service.begin()
    yield made
    await service.end()


async def test_who_was_terminated_a_day_ago_goes_and_nobody_else(team: Team) -> None:
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


async def test_of_very_many_those_that_were_terminated_first_go_at_once(team: Team) -> None:
    for number in range(1, KEPT + 4):
        await team.terminated(number)
        await asyncio.sleep(0.1)
    await asyncio.sleep(EVERY_S)
    assert team.there() == list(range(4, KEPT + 4))


async def test_what_cannot_be_saved_stays_and_is_tried_again_now_and_then(team: Team) -> None:
    team.disk.stuck.add("spec_0_0_1")
    await team.terminated(1)
    await asyncio.sleep(KEPT_S + HOUR_S)
    assert team.there() == [1]
    assert team.disk.worktrees == ["spec_0_0_1"]
    team.disk.stuck.clear()
    await asyncio.sleep(KEPT_S)
    assert team.there() == []


async def test_who_led_somebody_that_lives_stays_known(team: Team) -> None:
    await team.terminated(1)
    await team.add(2, InstanceStage.RUNNING, wanted=True)
    team.team.registry.change("spec_0_0_2", parent_id="spec_0_0_1")
    await asyncio.sleep(2 * KEPT_S)
    assert team.there() == [1, 2]


async def test_a_supervisor_that_was_replaced_clears_nothing_away(team: Team) -> None:
    await team.terminated(1)
    team.store.is_fenced()
    await asyncio.sleep(2 * KEPT_S)
    assert team.there() == [1]
    assert team.disk.worktrees == ["spec_0_0_1"]
