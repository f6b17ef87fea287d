"""Spare agents: what each is made for, which are good, and what is left of one that is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.home import Home
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.api.requests import SpawnRequest
from supervisor.pool.makers import STUCK_S, AgentMaker, AgentSpec, spare_agent
from supervisor.pool.pool import Spare
from supervisor.spawning.rollback import SpawnRollback
from supervisor.store import keys
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.pool.hosts import Hosts
from tests.unit.supervisor.stand_ins import StandInInstance, recruit

HERE = Path("/project")


def key(work_dir: Path = HERE, **more: Any) -> str:
    request = SpawnRequest.model_validate({"role": "specialist", "workDir": "/project", "context": "x", **more})
    return AgentSpec.of(request, work_dir, "claude").key


def test_who_and_what_for_does_not_matter_to_a_spare() -> None:
    assert key() == key(context="another task", name="cart", role="manager", requestId="r") == key(agent="claude")
    assert key(env={"A": "1", "B": "2"}) == key(env={"B": "2", "A": "1"})


@pytest.mark.parametrize(
    "other", [{"agent": "demo"}, {"model": "opus"}, {"permissionMode": "plan"}, {"env": {"A": "1"}}], ids=str
)
def test_all_that_its_start_depends_on_does(other: dict[str, Any]) -> None:
    assert key(**other) != key()
    assert key(Path("/other"), **other) != key(**other)


def test_no_value_of_the_environment_can_be_read_from_the_key() -> None:
    assert "hunter2" not in key(env={"TOKEN": "hunter2"})


class Scene:
    """Host and factory in one; ``deeds`` tells what they were asked for."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.hosts = Hosts()
        self.deeds: list[str] = []
        self.bound = False
        self.stays = False
        this: Any = self
        rollback = SpawnRollback(self.team, this, this)
        self.maker = AgentMaker(Home(Path("/no-such-home")), this, self.team, this, rollback, this, self.hosts, 1.0)

    async def destroy(self, name: str) -> None:
        self.deeds.append(f"destroy {name}")
        if self.stays:
            raise ValueError("a word of Ray's own")

    async def end_agent(self, place: str, session_name: str, grace_s: float) -> None:
        self.deeds.append(f"end {session_name}")

    async def undo_workspace(self, workspace: Workspace) -> None:
        """It is gone."""

    async def is_spare(self, workspace: object) -> bool:
        await asyncio.sleep(0 if "b" in self.hosts.there else 60)
        return not self.bound

    async def forget_instance(self, place: str) -> None:
        self.deeds.append(f"forget {place}{' on its host' if place in self.hosts.settled else ''}")

    async def on_report(self, *_: object) -> None:
        """Nothing is reported."""

    async def on_unreachable(self, *_: object) -> None:
        """Nobody is silent."""

    async def add(self, **more: Any) -> Spare[str, Member]:
        """On the host b."""
        self.hosts.settle("spare_1", "b")
        given: dict[str, Any] = {"instance_id": "spare_1", "recipe": "r", "stage": InstanceStage.SPARE, "host": "b"}
        workspace = Workspace(mode="isolated", directory=Path("/w"))
        member = await recruit(self.team, 1, actor="spare_1@1", workspace=workspace, **{**given, **more})
        member.snapshot = replace(member.snapshot, since=asyncio.get_running_loop().time())
        instance: Any = StandInInstance()
        self.team.members.follow("spare_1", instance, "first", self)  # type: ignore[arg-type]
        return spare_agent(member)


def played(test: Callable[[Scene, Spare[str, Member]], Awaitable[None]], **more: Any) -> None:
    async def play() -> None:
        scene = Scene()
        spare = await scene.add(**more)
        try:
            await test(scene, spare)
        finally:
            await scene.team.members.leave_all()

    virtual_time.run(play)


def test_one_at_its_prompt_is_good_for_days() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        await asyncio.sleep(3 * 86_400)
        await scene.maker.look()
        assert scene.maker.is_ready(spare)
        assert scene.maker.fault(spare) == ""

    played(test)


def test_one_that_is_not_at_its_prompt_is_given_to_nobody_and_bad_after_a_while() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        now = asyncio.get_running_loop().time()
        spare.content.snapshot = replace(spare.content.snapshot, status=Status.RATE_LIMITED, since=now, reason="limit")
        assert not scene.maker.is_ready(spare)
        await asyncio.sleep(STUCK_S - 1)
        assert scene.maker.fault(spare) == ""
        await asyncio.sleep(2)
        assert scene.maker.fault(spare) == "limit"
        spare.content.snapshot = replace(spare.content.snapshot, status=Status.FAILED, since=now + STUCK_S, reason="")
        assert scene.maker.fault(spare) == "it is failed"

    played(test)


def test_one_is_bad_when_the_program_of_its_own_host_is_another() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        scene.hosts.programs.update(a="new", b="old")
        await scene.maker.look()
        assert scene.maker.fault(spare) == ""
        scene.hosts.programs["b"] = "new"
        await scene.maker.look()
        assert scene.maker.fault(spare) == "its program was changed"

    played(test, program="old")


def test_one_whose_host_is_drained_or_lost_is_bad_at_once_and_nothing_is_known_of_one_that_is_in_hand() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        scene.hosts.drained.add("b")
        assert scene.maker.fault(spare) == "the host b is drained or lost"
        async with spare.content.turn:
            assert scene.maker.fault(spare) == ""
            assert not scene.maker.is_ready(spare)
        scene.team.registry.remove(spare.name)
        assert scene.maker.fault(spare) == "it is gone"

    played(test)


def test_one_that_was_being_given_away_when_the_supervisor_died_is_bad_and_one_nobody_can_ask_about_is_not() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        assert await scene.maker.recognise(spare) == ""
        scene.bound = True
        assert "was being handed over" in await scene.maker.recognise(spare)
        scene.hosts.there.remove("b")
        assert await scene.maker.recognise(spare) == ""

    played(test)


def test_on_a_host_that_can_be_asked_all_that_it_has_is_taken_away_there() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        scene.hosts.drained.add("b")
        await scene.maker.end(spare)
        assert scene.deeds == ["end spare_1", "destroy spare_1@1", "forget spare_1 on its host"]
        assert spare.name not in scene.team.registry
        await scene.maker.end(spare)
        assert len(scene.deeds) == 3, "it is gone already"

    played(test)


def test_one_of_which_a_part_stays_is_not_called_gone() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        scene.stays = True
        with pytest.raises(UnavailableError, match="Not all of spare_1 is gone"):
            await scene.maker.end(spare)
        assert spare.name in scene.team.registry

    played(test)


@pytest.mark.parametrize("stage", [InstanceStage.SPARE, InstanceStage.STARTING])
def test_of_a_lost_host_nothing_is_asked_and_no_record_is_left(stage: InstanceStage) -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        scene.hosts.there.remove("b")
        left = [spare] if stage is InstanceStage.SPARE else await scene.maker.look()
        for each in left:
            await scene.maker.end(each)
        assert scene.deeds == ["destroy spare_1@1", "forget spare_1"]
        assert spare.name not in scene.team.registry
        assert await scene.store.load(keys.INSTANCE_PREFIX) == {}

    played(test, stage=stage)


def test_one_for_which_there_is_room_nowhere_leaves_nothing() -> None:
    async def test(scene: Scene, spare: Spare[str, Member]) -> None:
        spec = AgentSpec(work_dir=HERE, agent="demo")
        scene.maker.specs[spec.key] = spec
        assert scene.maker.obstacle(spec.key) == ""
        scene.hosts.there.clear()
        assert scene.maker.obstacle(spec.key) == "the hosts, which are just coming back"
        with pytest.raises(UnavailableError, match="no host has room"):
            await scene.maker.make("spare_2", spec.key)
        assert len(scene.team.registry.spares()) == 1

    played(test)
