"""The recovery in the course of time: it looks again, tries again what failed, and stops when it is replaced."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors.agents.base import RunningAgent
from actors.errors import AgentError, FencedError, TerminalError
from supervisor.recovery.recovery import EVERY_S, FIRST_PAUSE_S
from supervisor.team.registry import InstanceStage
from tests.fakes.clock import turns
from tests.fakes.recovery import RecoveryScene
from tests.fakes.team import FIRST, SECOND, add_member


async def with_two(scene: RecoveryScene, first: str) -> None:
    """Two agents live; the adoption of the first one is in trouble."""
    for number in (1, 2):
        await add_member(scene.team, number)
        scene.add_agent(f"spec_0_0_{number}", number)
    scene.log.errors["adopt spec_0_0_1"] = AgentError(first)


@pytest.mark.parametrize("error", [AgentError("no"), RuntimeError("a fault of ours")])
async def test_an_act_that_fails_harms_no_other_and_is_tried_again(error: Exception) -> None:
    scene = RecoveryScene()
    await with_two(scene, "no")
    scene.log.errors["adopt spec_0_0_1"] = error
    assert not await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_2"]
    scene.log.errors.clear()
    await asyncio.sleep(FIRST_PAUSE_S)
    assert await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_2", "adopt spec_0_0_1"]


async def test_who_can_never_be_adopted_is_tried_ever_less_often_and_keeps_nobody_from_being_compared() -> None:
    scene = RecoveryScene()
    await with_two(scene, "its actor cannot be made")
    await add_member(scene.team, 3, stage=InstanceStage.FAILED)
    told: list[str] = []
    scene.team.subscribe_failures(lambda member: told.append(member.record.instance_id))
    running = asyncio.create_task(scene.recovery.run())
    assert await scene.recovery.compared()
    await turns()
    assert told == ["spec_0_0_3"]
    await asyncio.sleep(600)
    assert 15 < scene.log.attempts.count("adopt spec_0_0_1") < 30
    assert scene.log.calls == ["adopt spec_0_0_2"]
    running.cancel()


async def test_who_cannot_be_adopted_for_some_time_is_said_to_be_silent_until_it_works() -> None:
    scene = RecoveryScene()
    await with_two(scene, "its actor cannot be made")
    running = asyncio.create_task(scene.recovery.run())
    await asyncio.sleep(FIRST_PAUSE_S)
    assert scene.adopter.silent == {}
    await asyncio.sleep(10)
    assert scene.adopter.silent == {
        FIRST: "its agent cannot be taken over so far: its actor cannot be made",
    }
    scene.log.errors.clear()
    await asyncio.sleep(60)
    assert FIRST in scene.adopter.adopted
    running.cancel()


async def test_an_act_that_hangs_keeps_the_others_from_nothing_and_is_not_begun_twice() -> None:
    scene = RecoveryScene()
    await with_two(scene, "")
    scene.log.errors.clear()
    scene.adopter.hangs.add(FIRST)
    running = asyncio.create_task(scene.recovery.run())
    await asyncio.sleep(1)
    assert scene.adopter.adopted == [SECOND]
    scene.add_agent("spec_0_0_9")
    await asyncio.sleep(10)
    assert "end spec_0_0_9" in scene.log.calls
    assert scene.log.attempts.count(f"adopt {FIRST}") == 1
    assert await scene.recovery.compared()
    running.cancel()
    await turns()
    assert not scene.recovery._under_way


async def test_a_session_that_somebody_has_opened_on_the_team_s_server_is_left_alone_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = RecoveryScene()
    scene.host.sessions["notes"] = RunningAgent(session_name="notes", pane_id="%3", pid=3, alive=True)
    running = asyncio.create_task(scene.recovery.run())
    await asyncio.sleep(EVERY_S * 3 + 1)
    assert scene.log.calls == []
    assert [record.getMessage() for record in caplog.records if "notes" in record.getMessage()] == [
        "the tmux session notes is none of this team's instances and is left alone"
    ]
    running.cancel()


async def test_a_supervisor_that_is_replaced_in_the_midst_of_an_act_stops() -> None:
    scene = RecoveryScene()
    await with_two(scene, "")
    scene.log.errors["adopt spec_0_0_1"] = FencedError("another supervisor has the state")
    await asyncio.wait_for(scene.recovery.run(), 60)


async def test_it_is_compared_only_once_everything_worked_and_who_has_failed_is_told_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = RecoveryScene()
    await add_member(scene.team, 1)
    await add_member(scene.team, 2, stage=InstanceStage.FAILED)
    scene.add_agent(FIRST)
    told: list[str] = []
    scene.team.subscribe_failures(lambda member: told.append(member.record.instance_id))
    scene.log.errors["agents"] = TerminalError("tmux hangs")
    running = asyncio.create_task(scene.recovery.run())
    await asyncio.sleep(5)
    assert not scene.recovery._compared.is_set()
    assert scene.host.asked["agents"] > 5
    scene.log.errors.clear()
    assert await scene.recovery.compared()
    await turns()
    assert told == [SECOND]
    asked = scene.host.asked["agents"]
    await asyncio.sleep(EVERY_S * 3 + 1)
    assert scene.host.asked["agents"] == asked + 3
    assert told == [SECOND]
    running.cancel()


async def test_a_worktree_that_a_host_makes_for_a_spawn_that_was_undone_goes_too_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = RecoveryScene()
    await add_member(scene.team, 1, stage=InstanceStage.STARTING)
    running = asyncio.create_task(scene.recovery.run())
    assert await scene.recovery.compared()
    assert list(scene.team.registry) == []
    scene.host.worktrees = [FIRST, SECOND]
    await asyncio.sleep(EVERY_S + 1)
    assert scene.host.worktrees == [SECOND]
    await asyncio.sleep(1000)
    scene.log.calls.clear()
    await asyncio.sleep(1000)
    assert scene.log.calls == []
    running.cancel()


async def test_a_part_of_an_undoing_that_does_not_answer_is_waited_for_and_the_record_stays_until_all_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = RecoveryScene()
    await add_member(scene.team, 1, stage=InstanceStage.STARTING)
    scene.log.errors[f"forget {FIRST}"] = AgentError("not now")
    assert not await scene.recovery.reconcile()
    assert FIRST in scene.team.registry
    scene.log.errors.clear()
    await asyncio.sleep(FIRST_PAUSE_S)
    assert await scene.recovery.reconcile()
    assert FIRST not in scene.team.registry


async def test_whose_host_is_away_is_looked_for_soon_again() -> None:
    scene = RecoveryScene()
    await add_member(scene.team, 1)
    scene.recovery._scheduler = scheduler = SimpleNamespace(instances_away=[FIRST])  # type: ignore[assignment]
    running = asyncio.create_task(scene.recovery.run())
    await turns()
    assert scene.log.calls == []
    scene.add_agent(FIRST)
    scheduler.instances_away = []
    await asyncio.sleep(EVERY_S / 10)
    assert scene.log.calls == ["adopt spec_0_0_1"]
    running.cancel()
