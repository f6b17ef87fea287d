from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.agents.base import RunningAgent
from actors.errors import AgentError, FencedError, TerminalError
from actors.workspace.values import Leftover, Retirement
from supervisor import undoing
from supervisor.permits import Permits
from supervisor.pool.stock import ActorStock
from supervisor.ports import InstancePort
from supervisor.recovery import EVERY_S, Recovery
from supervisor.registry import InstanceRecord, Member, Stage
from supervisor.roll import Roll
from supervisor.tries import FIRST_PAUSE_S
from supervisor.undoing import Undoing
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import StandInInstance, TroubledStore, recruit, turns

FIRST, SECOND = "spec_0_0_1", "spec_0_0_2"


class Outside:
    """Host, factory, adoption and closing in one: what runs, and what was done to it."""

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.sessions: dict[str, RunningAgent] = {}
        self.actors: set[str] = set()
        self.worktrees: list[str] = []
        self.deeds: list[str] = []
        self.trouble: dict[str, Exception] = {}
        self.looking = asyncio.Event()
        self.looking.set()
        self.asked = 0
        self.tried: list[str] = []
        self.adopted: list[str] = []
        self.silent: dict[str, str] = {}
        self.hangs: set[str] = set()

    def live(self, instance_id: str, pid: int = 7) -> None:
        agent = RunningAgent(session_name=instance_id, pane_id=f"%{pid}", pid=pid, alive=True)
        self.sessions[instance_id] = agent
        self.actors.add(instance_id)

    def _do(self, deed: str) -> None:
        self.tried.append(deed)
        if deed in self.trouble:
            raise self.trouble[deed]
        self.deeds.append(deed)

    async def agents(self) -> tuple[RunningAgent, ...]:
        self.asked += 1
        seen = tuple(self.sessions.values())
        await self.looking.wait()
        if "look" in self.trouble:
            raise self.trouble["look"]
        return seen

    async def create(self, name: str) -> InstancePort:
        self.actors.add(name)
        return StandInInstance()

    async def running(self) -> tuple[str, ...]:
        return tuple(self.actors)

    async def destroy(self, instance_id: str) -> None:
        self._do(f"destroy {instance_id}")
        self.actors.discard(instance_id)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self._do(f"end {session_name}")
        self.sessions.pop(session_name, None)

    async def actor(self, record: InstanceRecord) -> InstancePort:
        return StandInInstance()

    async def adopt(self, record: InstanceRecord, port: InstancePort) -> None:
        self._do(f"adopt {record.instance_id}")
        if record.instance_id in self.hangs:
            await asyncio.Event().wait()
        self.adopted.append(record.instance_id)
        self.roll.members._ends[record.instance_id] = SimpleNamespace(port=port, follower=None)  # type: ignore[assignment]

    async def on_silence(self, instance_id: str, reason: str) -> None:
        self.silent[instance_id] = reason

    async def finish(self, member: Member) -> None:
        self._do(f"finish {member.record.instance_id}")
        await self.roll.mark_ended(member, Stage.STOPPED, "")

    async def leftovers(self, known: Collection[str]) -> tuple[Leftover, ...]:
        return tuple(
            Leftover(path=Path("/w") / name, git_directory=None, branch=None, unfinished=False, state="", age_s=1.0)
            for name in self.worktrees
            if name not in known
        )

    async def collect_leftover(self, leftover: Leftover) -> Retirement:
        self.worktrees.remove(leftover.path.name)
        return Retirement(removed=True, kept_reason=None, branch_deleted=True)

    async def forget_instance(self, instance_id: str) -> None:
        self._do(f"forget {instance_id}")


class Scene:
    def __init__(self) -> None:
        self.store = TroubledStore()
        self.roll = Roll(self.store)
        self.outside = out = Outside(self.roll)
        self.stock = ActorStock(out, Permits(1), 0)
        staff: Any = SimpleNamespace(host=out, factory=out, stock=self.stock, roster=None)
        undo = Undoing(self.roll, staff.host, staff.factory)
        parts: tuple[Any, ...] = (staff, out, undo, out)
        self.recovery = Recovery(self.roll, *parts)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_who_was_restarted_while_we_looked_is_judged_by_no_old_sight(scene: Scene) -> None:
    await recruit(scene.roll, 1, pane_id="%7", pid=7)
    scene.outside.live(FIRST, 7)
    scene.outside.looking.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    await scene.roll.save(FIRST, pane_id="%8", pid=8)
    scene.outside.live(FIRST, 8)
    scene.outside.looking.set()
    await reconciling
    assert scene.outside.deeds == []
    assert scene.roll.registry.get(FIRST).record.pid == 8
    await scene.recovery.reconcile()
    assert scene.outside.deeds == ["adopt spec_0_0_1"]


async def test_who_came_to_be_while_we_looked_is_nobody_s_leftover(scene: Scene) -> None:
    scene.outside.live(FIRST)
    scene.outside.looking.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    await recruit(scene.roll, 1, pane_id="%7", pid=7)
    scene.outside.looking.set()
    await reconciling
    assert scene.outside.deeds == []


async def test_an_act_whose_instance_changed_before_its_turn_is_left_for_the_next_look(scene: Scene) -> None:
    member = await recruit(scene.roll, 1, pane_id="%7", pid=7)
    scene.store.gate.clear()
    reconciling = asyncio.create_task(scene.recovery.reconcile())
    await turns()
    async with member.turn:
        scene.store.gate.set()
        await turns()
        scene.outside.live(FIRST, 8)
        await scene.roll.save(FIRST, pane_id="%8", pid=8)
    assert not await reconciling
    assert scene.outside.deeds == []
    assert member.record.stage is Stage.RUNNING
    assert await scene.recovery.reconcile()
    assert scene.outside.deeds == ["adopt spec_0_0_1"]


async def test_who_was_just_being_started_when_the_look_began_is_left_for_the_next_look(scene: Scene) -> None:
    member = await recruit(scene.roll, 1, stage=Stage.STARTING)
    scene.outside.looking.clear()
    async with member.turn:
        reconciling = asyncio.create_task(scene.recovery.reconcile())
        await turns()
        scene.outside.live(FIRST)
        await scene.roll.save(FIRST, pane_id="%7", pid=7, stage=Stage.RUNNING)
    scene.outside.looking.set()
    assert await reconciling
    assert scene.outside.deeds == []
    assert await scene.recovery.reconcile()
    assert scene.outside.deeds == ["adopt spec_0_0_1"]


async def test_whoever_is_being_started_or_ended_is_waited_for_by_nobody(scene: Scene) -> None:
    member = await recruit(scene.roll, 1)
    async with member.turn:
        assert await scene.recovery.reconcile()
    assert scene.outside.deeds == []


async def with_two(scene: Scene, first: str) -> None:
    """Two agents live; the adoption of the first one is in trouble."""
    for number in (1, 2):
        await recruit(scene.roll, number)
        scene.outside.live(f"spec_0_0_{number}", number)
    scene.outside.trouble["adopt spec_0_0_1"] = AgentError(first)


@pytest.mark.parametrize("error", [AgentError("no"), RuntimeError("a fault of ours")])
def test_an_act_that_fails_harms_no_other_and_is_tried_again(error: Exception) -> None:
    async def play() -> None:
        scene = Scene()
        await with_two(scene, "no")
        scene.outside.trouble["adopt spec_0_0_1"] = error
        assert not await scene.recovery.reconcile()
        assert scene.outside.deeds == ["adopt spec_0_0_2"]
        scene.outside.trouble.clear()
        await asyncio.sleep(FIRST_PAUSE_S)
        assert await scene.recovery.reconcile()
        assert scene.outside.deeds == ["adopt spec_0_0_2", "adopt spec_0_0_1"]

    virtual_time.run(play)


def test_who_can_never_be_adopted_is_tried_ever_less_often_and_keeps_nobody_from_being_compared() -> None:
    async def play() -> None:
        scene = Scene()
        await with_two(scene, "its actor cannot be made")
        await recruit(scene.roll, 3, stage=Stage.FAILED)
        told: list[str] = []
        scene.roll.on_failed = lambda member: told.append(member.record.instance_id)
        running = asyncio.create_task(scene.recovery.run())
        assert await scene.recovery.compared()
        await turns()
        assert told == ["spec_0_0_3"]
        await asyncio.sleep(600)
        assert 15 < scene.outside.tried.count("adopt spec_0_0_1") < 30
        assert scene.outside.deeds == ["adopt spec_0_0_2"]
        running.cancel()

    virtual_time.run(play)


def test_who_cannot_be_adopted_for_some_time_is_said_to_be_silent_until_it_works() -> None:
    async def play() -> None:
        scene = Scene()
        await with_two(scene, "its actor cannot be made")
        running = asyncio.create_task(scene.recovery.run())
        await asyncio.sleep(FIRST_PAUSE_S)
        assert scene.outside.silent == {}
        await asyncio.sleep(10)
        assert scene.outside.silent == {
            FIRST: "its agent cannot be taken over so far: its actor cannot be made",
        }
        scene.outside.trouble.clear()
        await asyncio.sleep(60)
        assert FIRST in scene.outside.adopted
        running.cancel()

    virtual_time.run(play)


def test_an_act_that_hangs_keeps_the_others_from_nothing_and_is_not_begun_twice() -> None:
    async def play() -> None:
        scene = Scene()
        await with_two(scene, "")
        scene.outside.trouble.clear()
        scene.outside.hangs.add(FIRST)
        running = asyncio.create_task(scene.recovery.run())
        await asyncio.sleep(1)
        assert scene.outside.adopted == [SECOND]
        scene.outside.live("spec_0_0_9")
        await asyncio.sleep(10)
        assert "end spec_0_0_9" in scene.outside.deeds
        assert scene.outside.tried.count(f"adopt {FIRST}") == 1
        assert await scene.recovery.compared()
        running.cancel()
        await turns()
        assert not scene.recovery._under_way

    virtual_time.run(play)


def test_a_session_that_somebody_has_opened_on_the_team_s_server_is_left_alone_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        scene = Scene()
        scene.outside.sessions["notes"] = RunningAgent(session_name="notes", pane_id="%3", pid=3, alive=True)
        running = asyncio.create_task(scene.recovery.run())
        await asyncio.sleep(EVERY_S * 3 + 1)
        assert scene.outside.deeds == []
        assert [record.getMessage() for record in caplog.records if "notes" in record.getMessage()] == [
            "the tmux session notes is none of this team's instances and is left alone"
        ]
        running.cancel()

    virtual_time.run(play)


def test_a_supervisor_that_is_replaced_in_the_midst_of_an_act_stops() -> None:
    async def play() -> None:
        scene = Scene()
        await with_two(scene, "")
        scene.outside.trouble["adopt spec_0_0_1"] = FencedError("another supervisor has the state")
        await asyncio.wait_for(scene.recovery.run(), 60)

    virtual_time.run(play)


async def test_a_supervisor_that_was_replaced_touches_nothing(scene: Scene) -> None:
    await recruit(scene.roll, 1, wanted=False)
    await recruit(scene.roll, 3, stage=Stage.STARTING)
    for instance_id in (FIRST, SECOND, "spec_0_0_3"):
        scene.outside.live(instance_id)
    scene.store.is_fenced()
    await asyncio.wait_for(scene.recovery.run(), 5)
    assert scene.outside.deeds == []


async def test_what_a_session_or_an_actor_belongs_to_nobody_is_ended(scene: Scene) -> None:
    scene.outside.live(SECOND)
    scene.outside.actors.add("spec_0_0_3")
    assert await scene.recovery.reconcile()
    assert sorted(scene.outside.deeds) == ["destroy spec_0_0_2", "destroy spec_0_0_3", "end spec_0_0_2"]


def test_it_is_compared_only_once_everything_worked_and_who_has_failed_is_told_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play() -> None:
        scene = Scene()
        await recruit(scene.roll, 1)
        await recruit(scene.roll, 2, stage=Stage.FAILED)
        scene.outside.live(FIRST)
        told: list[str] = []
        scene.roll.on_failed = lambda member: told.append(member.record.instance_id)
        scene.outside.trouble["look"] = TerminalError("tmux hangs")
        running = asyncio.create_task(scene.recovery.run())
        await asyncio.sleep(5)
        assert not scene.recovery._compared.is_set()
        assert scene.outside.asked > 5
        scene.outside.trouble.clear()
        assert await scene.recovery.compared()
        await turns()
        assert told == [SECOND]
        asked = scene.outside.asked
        await asyncio.sleep(EVERY_S * 3 + 1)
        assert scene.outside.asked == asked + 3
        assert told == [SECOND]
        running.cancel()

    virtual_time.run(play)


def test_a_worktree_that_a_host_makes_for_a_spawn_that_was_undone_goes_too_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undoing, "time", virtual_time.clock())

    async def play() -> None:
        scene = Scene()
        await recruit(scene.roll, 1, stage=Stage.STARTING)
        running = asyncio.create_task(scene.recovery.run())
        assert await scene.recovery.compared()
        assert list(scene.roll.registry) == []
        scene.outside.worktrees = [FIRST, SECOND]
        await asyncio.sleep(EVERY_S + 1)
        assert scene.outside.worktrees == [SECOND]
        await asyncio.sleep(1000)
        scene.outside.deeds.clear()
        await asyncio.sleep(1000)
        assert scene.outside.deeds == []
        running.cancel()

    virtual_time.run(play)


def test_a_part_of_an_undoing_that_does_not_answer_is_waited_for_and_the_record_stays_until_all_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undoing, "time", virtual_time.clock())

    async def play() -> None:
        scene = Scene()
        await recruit(scene.roll, 1, stage=Stage.STARTING)
        scene.outside.trouble[f"forget {FIRST}"] = AgentError("not now")
        assert not await scene.recovery.reconcile()
        assert FIRST in scene.roll.registry
        scene.outside.trouble.clear()
        await asyncio.sleep(FIRST_PAUSE_S)
        assert await scene.recovery.reconcile()
        assert FIRST not in scene.roll.registry

    virtual_time.run(play)


def test_whose_host_is_away_is_looked_for_soon_again() -> None:
    async def play() -> None:
        scene = Scene()
        await recruit(scene.roll, 1)
        scene.recovery._roster = roster = SimpleNamespace(instances_away=[FIRST])  # type: ignore[assignment]
        running = asyncio.create_task(scene.recovery.run())
        await turns()
        assert scene.outside.deeds == []
        scene.outside.live(FIRST)
        roster.instances_away = []
        await asyncio.sleep(EVERY_S / 10)
        assert scene.outside.deeds == ["adopt spec_0_0_1"]
        running.cancel()

    virtual_time.run(play)
