"""Recovery: what it judges by a look that is already old, and what it leaves alone."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.team.registry import InstanceStage
from tests.fakes.clock import turns
from tests.fakes.recovery import RecoveryScene
from tests.fakes.team import FIRST, SECOND, add_member


@pytest.fixture
def scene() -> RecoveryScene:
    return RecoveryScene()


async def test_who_was_restarted_while_we_looked_is_judged_by_no_old_sight(scene: RecoveryScene) -> None:
    await add_member(scene.team, 1, pane_id="%7", pid=7)
    scene.add_agent(FIRST, 7)
    scene.host.gate.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    await scene.team.save(FIRST, pane_id="%8", pid=8)
    scene.add_agent(FIRST, 8)
    scene.host.gate.set()
    await reconciling
    assert scene.log.calls == []
    assert scene.team.registry.get(FIRST).record.pid == 8
    await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_1"]


async def test_who_came_to_be_while_we_looked_is_nobody_s_leftover(scene: RecoveryScene) -> None:
    scene.add_agent(FIRST)
    scene.host.gate.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    await add_member(scene.team, 1, pane_id="%7", pid=7)
    scene.host.gate.set()
    await reconciling
    assert scene.log.calls == []


async def test_an_act_whose_instance_changed_before_its_turn_is_left_for_the_next_look(scene: RecoveryScene) -> None:
    member = await add_member(scene.team, 1, pane_id="%7", pid=7)
    scene.store.gate.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    async with member.turn:
        scene.store.gate.set()
        await turns()
        scene.add_agent(FIRST, 8)
        await scene.team.save(FIRST, pane_id="%8", pid=8)
    assert not await reconciling
    assert scene.log.calls == []
    assert member.record.stage is InstanceStage.RUNNING
    assert await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_1"]


async def test_who_was_just_being_started_when_the_look_began_is_left_for_the_next_look(scene: RecoveryScene) -> None:
    member = await add_member(scene.team, 1, stage=InstanceStage.STARTING)
    scene.host.gate.clear()
    async with member.turn:
        reconciling = asyncio.create_task(scene.recovery.reconcile())
        await turns()
        scene.add_agent(FIRST)
        await scene.team.save(FIRST, pane_id="%7", pid=7, stage=InstanceStage.RUNNING)
    scene.host.gate.set()
    assert await reconciling
    assert scene.log.calls == []
    assert await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_1"]


async def test_whoever_is_being_started_or_ended_is_waited_for_by_nobody(scene: RecoveryScene) -> None:
    member = await add_member(scene.team, 1)
    async with member.turn:
        assert await scene.recovery.reconcile()
    assert scene.log.calls == []


async def test_a_supervisor_that_was_replaced_touches_nothing(scene: RecoveryScene) -> None:
    await add_member(scene.team, 1, wanted=False)
    await add_member(scene.team, 3, stage=InstanceStage.STARTING)
    for instance_id in (FIRST, SECOND, "spec_0_0_3"):
        scene.add_agent(instance_id)
    scene.store.is_fenced()
    await asyncio.wait_for(scene.recovery.run(), 5)
    assert scene.log.calls == []


async def test_what_a_session_or_an_actor_belongs_to_nobody_is_ended(scene: RecoveryScene) -> None:
    scene.add_agent(SECOND)
    scene.instances.names.add("spec_0_0_3")
    assert await scene.recovery.reconcile()
    assert sorted(scene.log.calls) == ["destroy spec_0_0_2", "destroy spec_0_0_3", "end spec_0_0_2"]
