"""Recovery: what it does about what it saw, what it leaves alone, when it looks again, and when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from actors.agents.base import RunningAgent
from actors.errors import AgentError, FencedError, TerminalError
from supervisor.recovery.recovery import EVERY_S, FIRST_PAUSE_S
from supervisor.team.registry import InstanceStage
from tests.fakes.clock import turns
from tests.fakes.recovery import RecoveryScene
from tests.fakes.team import FIRST, SECOND, add_member

Run = Callable[[], "asyncio.Task[None]"]


@pytest.fixture
def scene() -> RecoveryScene:
    return RecoveryScene()


@pytest.fixture
async def run(scene: RecoveryScene) -> AsyncIterator[Run]:
    """Starts the recovery, which is stopped after the test."""
    running: list[asyncio.Task[None]] = []

    def start() -> asyncio.Task[None]:
        running.append(asyncio.create_task(scene.recovery.run()))
        return running[-1]

    yield start
    for task in running:
        task.cancel()


@asynccontextmanager
async def during_look(scene: RecoveryScene) -> AsyncIterator[None]:
    """What the block does happens after the look has begun and before it has seen anything."""
    scene.host.gate.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    yield
    scene.host.gate.set()
    await reconciling
    assert scene.log.calls == []


async def test_who_was_restarted_while_we_looked_is_judged_by_no_old_sight(scene: RecoveryScene) -> None:
    await add_member(scene.team, 1, pane_id="%7", pid=7)
    scene.add_agent(FIRST, 7)
    async with during_look(scene):
        await scene.team.save(FIRST, pane_id="%8", pid=8)
        scene.add_agent(FIRST, 8)
    assert scene.team.registry.get(FIRST).record.pid == 8
    await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_1"]


async def test_who_came_to_be_while_we_looked_is_nobody_s_leftover(scene: RecoveryScene) -> None:
    scene.add_agent(FIRST)
    async with during_look(scene):
        await add_member(scene.team, 1, pane_id="%7", pid=7)


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


@pytest.mark.parametrize(
    ("before", "after"),
    [(InstanceStage.RUNNING, InstanceStage.FAILED), (InstanceStage.STOPPED, InstanceStage.STOPPED)],
)
async def test_an_actor_without_an_agent_goes_and_an_end_that_nobody_saw_is_noted(
    scene: RecoveryScene, before: InstanceStage, after: InstanceStage
) -> None:
    member = await add_member(scene.team, 1, stage=before)
    scene.instances.names.add(FIRST)
    assert await scene.recovery.reconcile()
    assert scene.log.calls == ["destroy spec_0_0_1"]
    assert member.record.stage is after


async def test_what_a_session_or_an_actor_belongs_to_nobody_is_ended(scene: RecoveryScene) -> None:
    scene.add_agent(SECOND)
    scene.instances.names |= {"spec_0_0_3", "spare_4@10.0.0.2", "spare_0f3a"}
    assert await scene.recovery.reconcile()
    ended = [SECOND, "spec_0_0_3", "spare_4@10.0.0.2", "spare_0f3a"]
    assert sorted(scene.log.calls) == sorted([*(f"destroy {each}" for each in ended), "end spec_0_0_2"])


async def test_an_actor_stays_that_may_be_of_an_instance_whose_record_cannot_be_read(scene: RecoveryScene) -> None:
    """That may be on another host, or have been a spare."""
    scene.team.unreadable.keys.append(f"instance/{FIRST}")
    its = {FIRST, f"{FIRST}@10.0.0.2", "spare_4@10.0.0.2"}
    scene.instances.names |= {*its, SECOND}
    assert await scene.recovery.reconcile()
    assert scene.instances.names == its


async def with_two(scene: RecoveryScene, first: str) -> None:
    """Two agents live; the adoption of the first one is in trouble."""
    for number in (1, 2):
        await add_member(scene.team, number)
        scene.add_agent(f"spec_0_0_{number}", number)
    scene.log.errors["adopt spec_0_0_1"] = AgentError(first)


@pytest.mark.parametrize("error", [AgentError("no"), RuntimeError("a fault of ours")])
async def test_an_act_that_fails_harms_no_other_and_is_tried_again(scene: RecoveryScene, error: Exception) -> None:
    await with_two(scene, "no")
    scene.log.errors["adopt spec_0_0_1"] = error
    assert not await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_2"]
    scene.log.errors.clear()
    await asyncio.sleep(FIRST_PAUSE_S)
    assert await scene.recovery.reconcile()
    assert scene.log.calls == ["adopt spec_0_0_2", "adopt spec_0_0_1"]


async def test_who_can_never_be_adopted_is_tried_ever_less_often_and_keeps_nobody_from_being_compared(
    scene: RecoveryScene, run: Run
) -> None:
    await with_two(scene, "its actor cannot be made")
    await add_member(scene.team, 3, stage=InstanceStage.FAILED)
    told: list[str] = []
    scene.team.subscribe_failures(lambda member: told.append(member.record.instance_id))
    run()
    assert await scene.recovery.compared()
    await turns()
    assert told == ["spec_0_0_3"]
    await asyncio.sleep(600)
    assert 15 < scene.log.attempts.count("adopt spec_0_0_1") < 30
    assert scene.log.calls == ["adopt spec_0_0_2"]


async def test_who_cannot_be_adopted_for_some_time_is_said_to_be_silent_until_it_works(
    scene: RecoveryScene, run: Run
) -> None:
    await with_two(scene, "its actor cannot be made")
    run()
    await asyncio.sleep(FIRST_PAUSE_S)
    assert scene.adopter.silent == {}
    await asyncio.sleep(10)
    assert scene.adopter.silent == {
        FIRST: "its agent cannot be taken over so far: its actor cannot be made",
    }
    scene.log.errors.clear()
    await asyncio.sleep(60)
    assert FIRST in scene.adopter.adopted


async def test_an_act_that_hangs_keeps_the_others_from_nothing_and_is_not_begun_twice(
    scene: RecoveryScene, run: Run
) -> None:
    await with_two(scene, "")
    scene.log.errors.clear()
    scene.adopter.hangs.add(FIRST)
    running = run()
    await asyncio.sleep(1)
    assert scene.adopter.adopted == [SECOND]
    scene.add_agent("spec_0_0_9")
    await asyncio.sleep(10)
    assert "end spec_0_0_9" in scene.log.calls
    assert scene.log.attempts.count(f"adopt {FIRST}") == 1
    assert await scene.recovery.compared()
    running.cancel()
    await turns()
    assert f"reconcile {FIRST}" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_session_that_somebody_has_opened_on_the_team_s_server_is_left_alone_and_told_of_once(
    scene: RecoveryScene, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scene.host.sessions["notes"] = RunningAgent(session_name="notes", pane_id="%3", pid=3, alive=True)
    run()
    await asyncio.sleep(EVERY_S * 3 + 1)
    assert scene.log.calls == []
    assert [record.getMessage() for record in caplog.records if "notes" in record.getMessage()] == [
        "the tmux session notes is none of this team's instances and is left alone"
    ]


async def test_a_supervisor_that_is_replaced_in_the_midst_of_an_act_stops(scene: RecoveryScene) -> None:
    await with_two(scene, "")
    scene.log.errors["adopt spec_0_0_1"] = FencedError("another supervisor has the state")
    await asyncio.wait_for(scene.recovery.run(), 60)


async def test_it_is_compared_only_once_everything_worked_and_who_has_failed_is_told_then(
    scene: RecoveryScene, run: Run
) -> None:
    await add_member(scene.team, 1)
    await add_member(scene.team, 2, stage=InstanceStage.FAILED)
    scene.add_agent(FIRST)
    told: list[str] = []
    scene.team.subscribe_failures(lambda member: told.append(member.record.instance_id))
    scene.log.errors["agents"] = TerminalError("tmux hangs")
    run()
    compared = asyncio.create_task(scene.recovery.compared())
    await asyncio.sleep(5)
    assert not compared.done()
    assert scene.host.asked["agents"] > 5
    scene.log.errors.clear()
    assert await compared
    await turns()
    assert told == [SECOND]
    asked = scene.host.asked["agents"]
    await asyncio.sleep(EVERY_S * 3 + 1)
    assert scene.host.asked["agents"] == asked + 3
    assert told == [SECOND]


async def test_a_spawn_for_which_a_host_still_makes_something_is_undone_only_when_that_is_there(
    scene: RecoveryScene, run: Run
) -> None:
    await add_member(scene.team, 1, stage=InstanceStage.STARTING)
    scene.host.making = {FIRST}
    run()
    await asyncio.sleep(EVERY_S * 10)
    assert FIRST in scene.team.registry
    scene.host.making = set()
    scene.host.worktrees = [FIRST, f"{FIRST}-2", SECOND]
    await asyncio.sleep(EVERY_S * 4)
    assert list(scene.team.registry) == []
    assert scene.host.worktrees == [SECOND]


async def test_a_part_of_an_undoing_that_does_not_answer_is_waited_for_and_the_record_stays_until_all_is_gone(
    scene: RecoveryScene,
) -> None:
    await add_member(scene.team, 1, stage=InstanceStage.STARTING)
    scene.log.errors[f"forget {FIRST}"] = AgentError("not now")
    assert not await scene.recovery.reconcile()
    assert FIRST in scene.team.registry
    scene.log.errors.clear()
    await asyncio.sleep(FIRST_PAUSE_S)
    assert await scene.recovery.reconcile()
    assert FIRST not in scene.team.registry


async def test_whose_host_is_away_is_looked_for_soon_again() -> None:
    scheduler = SimpleNamespace(instances_away=[FIRST])
    scene = RecoveryScene(scheduler)
    await add_member(scene.team, 1)
    running = asyncio.create_task(scene.recovery.run())
    await turns()
    assert scene.log.calls == []
    scene.add_agent(FIRST)
    scheduler.instances_away = []
    await asyncio.sleep(EVERY_S / 10)
    assert scene.log.calls == ["adopt spec_0_0_1"]
    running.cancel()
