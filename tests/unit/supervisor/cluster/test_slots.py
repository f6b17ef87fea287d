from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from actors.nodes import ELASTIC_LABEL, Node
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.cluster.scheduler import HostScheduler, Placement
from supervisor.cluster.slots import SlotAccounting
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.hosts import FakeCluster, FakeHost
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

NODES = (
    Node(name="head", address="1", slots=4),
    Node(name="worker", address="2", slots=3),
    Node(name="cloud", address="3", slots=9, labels={ELASTIC_LABEL: "true"}),
)


async def scene() -> tuple[Team, HostScheduler, SlotAccounting]:
    team = Team(MemoryStore())
    scheduler = HostScheduler("head", FakeHost("head"), FakeCluster(*NODES), 0)
    await scheduler.nodes()
    return team, scheduler, SlotAccounting(team, scheduler)


async def test_who_lives_starts_or_is_followed_takes_a_slot_and_who_has_ended_does_not() -> None:
    team, _, slots = await scene()
    await add_member(team, 1, host="head")
    starting = await add_member(team, 2, host="worker", stage=InstanceStage.STARTING)
    ended = await add_member(team, 3, host="worker", stage=InstanceStage.STOPPED)
    failed = await add_member(team, 4, host="worker", stage=InstanceStage.FAILED)
    for member in (starting, ended, failed):
        member.snapshot = replace(READY, status=Status.FAILED)
    port: Any = None
    team.members.follow("spec_0_0_4", port, "i", port)
    assert slots.taken() == {"spec_0_0_1": "head", "spec_0_0_2": "worker", "spec_0_0_4": "worker"}
    await team.members.leave_all()


async def test_spare_actors_have_the_room_that_instances_spare_agents_and_promises_leave() -> None:
    team, scheduler, slots = await scene()
    await add_member(team, 1, host="head")
    await add_member(team, 2, instance_id="spare_2", recipe="r", stage=InstanceStage.SPARE)
    await add_member(team, 3, host="worker")
    assert slots.taken() == {"spec_0_0_1": "head", "spec_0_0_3": "worker"}
    assert slots.rooms() == {"": 2, "2": 2}
    scheduler._promised.append(Placement(host="worker", address="2", own=False))
    assert slots.rooms() == {"": 2, "2": 1}


async def test_no_spare_actor_waits_on_a_drained_or_an_elastic_host() -> None:
    _, scheduler, slots = await scene()
    scheduler.drained = {"worker"}
    assert slots.rooms() == {"": 4}
    scheduler.drained = {"head"}
    assert slots.rooms() == {"2": 3}


async def test_each_host_has_less_than_no_slot_left_while_a_spare_agent_sits_in_the_place_of_an_instance() -> None:
    team, scheduler, slots = await scene()
    await add_member(team, 1, instance_id="spare_1", recipe="r", stage=InstanceStage.SPARE, host="worker")
    await add_member(team, 2, host="worker")
    assert (slots.left(""), slots.left("worker")) == (4, 1)
    scheduler._promised += [Placement(host="worker", address="2", own=False) for _ in range(2)]
    assert slots.left("worker") == -1


async def test_a_branch_is_worked_on_while_there_is_an_instance_that_has_it() -> None:
    team, scheduler, slots = await scene()
    memory: Any = SimpleNamespace()
    slots.install(memory)
    directory = Path("/w/spec_0_0_1")
    workspace = Workspace(mode="isolated", directory=directory, worktree=directory, branch="phalanx/spec_0_0_1")
    await add_member(team, 1, workspace=workspace)
    await add_member(team, 2)
    assert scheduler.is_worked_on("phalanx/spec_0_0_1")
    assert not scheduler.is_worked_on("phalanx/spec_0_0_2")
