"""A spare agent is given on the host where it is, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import Handover
from actors.errors import StoreError, TerminalError, UnavailableError
from actors.instance.reports import Report
from actors.nodes import Node
from actors.worktrees.model import Workspace
from supervisor.api.requests import Role, SpawnRequest
from supervisor.cluster.scheduler import HostScheduler, Placement
from supervisor.pool.makers import spare_agent
from supervisor.pool.pool import Spare
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.staff import Staff
from supervisor.spawning.start import WarmStart
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY, FakeInstance
from tests.fakes.store import MemoryStore
from tests.fakes.team import record

NEW, SPARE = "spec_0_0_1", "spare_1"
REQUEST = SpawnRequest(role=Role.SPECIALIST, work_dir="/project", context="hello")


class Scene:
    """Two hosts; pool, cluster and host in one. The spare is on ``far``; the instance is placed on ``near``."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.error: BaseException | None = None
        self.seen: dict[str, Any] = {}
        self.rejected: list[str] = []
        self.allowed: Sequence[str] | None = None
        this: Any = self
        nothing: Any = None
        self.scheduler = HostScheduler("near", this, this, self.team.registry, self.team.members)
        self.staff = Staff(
            host=this,
            factory=nothing,
            permits=FairSemaphore(3),
            memory=nothing,
            scheduler=self.scheduler,
        )
        self.warm = WarmStart(self.staff, self.team, this)
        workspace = Workspace(mode="isolated", directory=Path("/w/spare_1"), worktree=Path("/w/spare_1"))
        given: Mapping[str, Any] = {"workspace": workspace, "actor": f"{SPARE}@10.0.0.2", "pane_id": "%7", "pid": 7}
        spare = record(1, instance_id=SPARE, recipe="r", stage=InstanceStage.SPARE, host="far", **given)
        self.spare = self.team.registry.restore(spare, now=1.0)
        self.spare.snapshot = READY
        instance: Any = FakeInstance()
        self.team.members.follow(SPARE, instance, "first", this)
        self.member = self.team.registry.restore(record(1, stage=InstanceStage.STARTING, host="near"), now=1.0)
        self.placement = Placement(host="near", address="10.0.0.1", own=True, instance_id=NEW)

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(name=name, address=f"10.0.0.{at}", slots=4) for at, name in enumerate(("near", "far"), 1))

    @property
    def agents(self) -> Scene:
        return self

    def take_agent(self, request: SpawnRequest, work_dir: Path, hosts: Sequence[str] | None) -> Spare[str, Member]:
        self.allowed = hosts
        return spare_agent(self.spare)

    def reject(self, spare: Spare[str, Member], why: str) -> None:
        self.rejected.append(why)

    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        return spare

    async def hand_over(self, handover: Handover) -> None:
        self.seen = {"place": self.scheduler.places[handover.instance_id], "host": self.member.record.host}
        if self.error is not None:
            raise self.error

    async def on_report(self, instance_id: str, report: Report) -> None:
        """Nothing is reported."""

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        """It was left on purpose."""


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    await made.scheduler.nodes()
    return made


async def test_an_instance_is_where_its_spare_is_before_the_host_gives_it_its_name(scene: Scene) -> None:
    begun = await scene.warm.begin(scene.member, REQUEST, "lead", scene.placement)
    assert begun is not None
    assert scene.allowed == ["near", "far"]
    assert scene.seen == {"place": "far", "host": "far"}
    record_ = scene.member.record
    assert (record_.host, record_.actor, record_.spare, record_.pid) == ("far", f"{SPARE}@10.0.0.2", SPARE, 7)
    assert (scene.placement.host, scene.placement.address, scene.placement.own) == ("far", "10.0.0.2", False)
    assert SPARE not in scene.team.registry


@pytest.mark.parametrize("error", [TerminalError("no session"), UnavailableError("the host does not answer")])
async def test_a_spare_on_another_host_that_cannot_be_given_leaves_the_instance_where_it_was_placed(
    scene: Scene, error: Exception
) -> None:
    scene.error = error
    assert await scene.warm.begin(scene.member, REQUEST, "lead", scene.placement) is None
    assert scene.rejected == [str(error)]
    assert (scene.member.record.host, scene.placement.host, scene.scheduler.places[NEW]) == ("near", "near", "near")
    assert SPARE in scene.team.registry
    await scene.team.members.leave_all()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), StoreError("no space left")])
async def test_a_spare_whose_taker_is_cut_off_is_left_with_nobody(scene: Scene, error: BaseException) -> None:
    scene.error = error
    with pytest.raises(type(error)):
        await scene.warm.begin(scene.member, REQUEST, "lead", scene.placement)
    assert len(scene.rejected) == 1
    await scene.team.members.leave_all()


async def test_when_the_host_where_it_was_placed_does_not_answer_the_spawn_fails_and_the_spare_goes(
    scene: Scene,
) -> None:
    scene.error = UnavailableError("the host does not answer")
    scene.scheduler.shift(scene.placement, "far")
    with pytest.raises(UnavailableError):
        await scene.warm.begin(scene.member, REQUEST, "lead", scene.placement)
    assert scene.rejected == ["the host does not answer"]
    await scene.team.members.leave_all()
