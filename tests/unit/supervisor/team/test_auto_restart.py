from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from actors.errors import AgentError
from actors.instance.reports import Report
from actors.status import Status
from supervisor.api.results import RestartResult
from supervisor.spawning.admission import FairSemaphore
from supervisor.team.lifecycle import GIVEN_UP, AutoRestart
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

LIMIT = 3


class Restarts:
    """In place of ``Lifecycle``: notes when an instance was tried; ``fails`` says whether that goes wrong."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self.at: list[float] = []
        self.fails: Iterator[bool | str] = iter(())

    async def resume(self, member: Member) -> RestartResult | None:
        if not member.record.resumable:
            return None
        self.at.append(asyncio.get_running_loop().time())
        fails = next(self.fails, False)
        if fails == "unexpectedly":
            raise RuntimeError("a fault of ours")
        if fails:
            await self._team.mark_ended(member, InstanceStage.FAILED, "it did not start")
            raise AgentError("it did not start")
        await self._team.save(member.record.instance_id, stage=InstanceStage.RUNNING, ended_at=0.0)
        member.snapshot = READY
        return RestartResult(instance_id=member.record.instance_id, status=Status.READY, resumed=True)


class Scene:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.team = Team(store)
        self.restarts = Restarts(self.team)
        self.auto_restart = AutoRestart(self.team, self.restarts, FairSemaphore(5), LIMIT)  # type: ignore[arg-type]
        self.team.subscribe_failures(self.auto_restart.failed)
        self.begun = asyncio.get_running_loop().time()

    async def agent_fails(self, member: Member) -> None:
        await self.team.mark_ended(member, InstanceStage.FAILED, "exit status 9")

    @property
    def tried_after(self) -> list[float]:
        return [round(at - self.begun, 1) for at in self.restarts.at]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(MemoryStore())
    yield made
    await made.auto_restart.stop()


async def test_an_agent_that_fails_is_started_again_after_a_pause(scene: Scene) -> None:
    member = await add_member(scene.team)
    await scene.agent_fails(member)
    await asyncio.sleep(60)
    assert scene.tried_after == [0.5]
    assert member.record.stage is InstanceStage.RUNNING


async def test_each_next_pause_is_longer_and_after_the_limit_it_stays_failed(scene: Scene) -> None:
    member = await add_member(scene.team)
    scene.restarts.fails = iter([True] * 10)
    await scene.agent_fails(member)
    await asyncio.sleep(3600)
    assert scene.tried_after == [0.5, 1.5, 3.5]
    assert member.record.stage is InstanceStage.FAILED


async def test_an_unexpected_error_costs_one_try_and_no_more(scene: Scene) -> None:
    member = await add_member(scene.team)
    scene.restarts.fails = iter(["unexpectedly", False])
    await scene.agent_fails(member)
    await asyncio.sleep(60)
    assert scene.tried_after == [0.5, 1.5]
    assert member.record.stage is InstanceStage.RUNNING


async def test_one_that_stays_failed_says_so_with_what_to_do_once_and_not_before(scene: Scene) -> None:
    member = await add_member(scene.team)
    scene.restarts.fails = iter([True] * 10)
    await scene.agent_fails(member)
    await asyncio.sleep(3)
    assert GIVEN_UP not in member.snapshot.reason
    await asyncio.sleep(3600)
    told = member.snapshot.reason
    assert told.startswith("it did not start\n")
    assert "3 times in a row" in told
    assert "restart spec_0_0_1" in told
    reported = replace(member.snapshot, reason="exit status 9", unread=1)
    await scene.team.take_in("spec_0_0_1", Report(incarnation="i", sequence=1, snapshot=reported, receipts=()))
    assert (member.snapshot.reason, member.snapshot.unread) == (told, 1)
    later = Scene(scene.store)
    await later.team.load()
    found = later.team.registry.get("spec_0_0_1")
    later.auto_restart.failed(found)
    await asyncio.sleep(10)
    assert found.snapshot.reason == told
    await later.auto_restart.stop()


async def test_one_that_starts_and_fails_soon_again_has_no_more_attempts_than_one_that_does_not_start(
    scene: Scene,
) -> None:
    member = await add_member(scene.team)
    for _ in range(10):
        await scene.agent_fails(member)
        await asyncio.sleep(30)
    assert len(scene.tried_after) == LIMIT


async def test_one_that_has_run_for_a_while_has_its_attempts_back(scene: Scene) -> None:
    member = await add_member(scene.team)
    for _ in range(10):
        await scene.agent_fails(member)
        await asyncio.sleep(700)
    assert len(scene.tried_after) == 10
    assert member.record.stage is InstanceStage.RUNNING


async def test_time_alone_gives_no_attempts_back_to_one_that_stays_failed(scene: Scene) -> None:
    member = await add_member(scene.team)
    scene.restarts.fails = iter([True] * LIMIT)
    await scene.agent_fails(member)
    await asyncio.sleep(3600)
    scene.auto_restart.failed(member)
    await asyncio.sleep(3600)
    assert len(scene.tried_after) == LIMIT


async def test_attempts_are_counted_on_after_a_crash_of_the_supervisor(scene: Scene) -> None:
    member = await add_member(scene.team)
    scene.restarts.fails = iter([True] * 10)
    await scene.agent_fails(member)
    await asyncio.sleep(2)
    await scene.auto_restart.stop()
    later = Scene(scene.store)
    await later.team.load()
    later.restarts.fails = iter([True] * 10)
    later.auto_restart.failed(later.team.registry.get("spec_0_0_1"))
    await asyncio.sleep(3600)
    assert len(scene.tried_after) + len(later.tried_after) == LIMIT
    await later.auto_restart.stop()


async def test_who_is_terminated_during_the_pause_is_not_brought_back(scene: Scene) -> None:
    member = await add_member(scene.team)
    await scene.agent_fails(member)
    await scene.team.save("spec_0_0_1", wanted=False, stage=InstanceStage.ENDING)
    await asyncio.sleep(60)
    assert scene.tried_after == []


async def test_a_failure_in_the_very_moment_in_which_an_attempt_ends_is_not_overlooked(scene: Scene) -> None:
    member = await add_member(scene.team)
    await scene.agent_fails(member)
    (task,) = scene.auto_restart._tasks.values()
    again = asyncio.Event()

    def at_once(_: object) -> None:
        again.set()

    task.add_done_callback(at_once)
    await again.wait()
    await scene.agent_fails(member)
    await asyncio.sleep(60)
    assert scene.tried_after == [0.5, 1.5]


async def test_nobody_is_started_once_it_has_stopped(scene: Scene) -> None:
    member = await add_member(scene.team)
    await scene.agent_fails(member)
    await scene.auto_restart.stop()
    await asyncio.sleep(60)
    assert scene.tried_after == []
