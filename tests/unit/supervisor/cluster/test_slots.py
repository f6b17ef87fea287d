from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actors.nodes import ELASTIC_LABEL, Node
from actors.status import Status
from supervisor.cluster.scheduler import HostScheduler, Placement
from supervisor.pool.placement import ClusterPlacement
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor.stand_ins import READY, recruit


class Cluster:
    async def nodes(self) -> tuple[Node, ...]:
        elastic = {ELASTIC_LABEL: "true"}
        return (
            Node(name="head", address="1", slots=4),
            Node(name="worker", address="2", slots=3),
            Node(name="cloud", address="3", slots=9, labels=elastic),
        )


async def scene() -> tuple[Team, HostScheduler]:
    team = Team(MemoryStore())
    cluster: Any = Cluster()
    own: Any = "own"
    scheduler = HostScheduler("head", own, cluster, team.registry, team.members)
    await scheduler.nodes()
    return team, scheduler


def rooms(scheduler: HostScheduler) -> Mapping[str, int]:
    nothing: Any = None
    return ClusterPlacement(nothing, nothing, scheduler).actor_room(99)


async def test_who_lives_starts_or_is_followed_takes_a_slot_and_who_has_ended_does_not() -> None:
    team, scheduler = await scene()
    await recruit(team, 1, host="head")
    starting = await recruit(team, 2, host="worker", stage=InstanceStage.STARTING)
    ended = await recruit(team, 3, host="worker", stage=InstanceStage.STOPPED)
    failed = await recruit(team, 4, host="worker", stage=InstanceStage.FAILED)
    for member in (starting, ended, failed):
        member.snapshot = replace(READY, status=Status.FAILED)
    port: Any = None
    team.members.follow("spec_0_0_4", port, "i", port)
    assert scheduler.instance_hosts() == {"spec_0_0_1": "head", "spec_0_0_2": "worker", "spec_0_0_4": "worker"}
    await team.members.leave_all()


async def test_spare_actors_have_the_room_that_instances_spare_agents_and_promises_leave() -> None:
    team, scheduler = await scene()
    await recruit(team, 1, host="head")
    await recruit(team, 2, instance_id="spare_2", recipe="r", stage=InstanceStage.SPARE)
    await recruit(team, 3, host="worker")
    assert scheduler.instance_hosts() == {"spec_0_0_1": "head", "spec_0_0_3": "worker"}
    assert rooms(scheduler) == {"": 2, "2": 2}
    scheduler._promised.append(Placement(host="worker", address="2", own=False))
    assert rooms(scheduler) == {"": 2, "2": 1}


async def test_no_spare_actor_waits_on_a_drained_or_an_elastic_host() -> None:
    _, scheduler = await scene()
    scheduler.drained = {"worker"}
    assert rooms(scheduler) == {"": 4}
    scheduler.drained = {"head"}
    assert rooms(scheduler) == {"2": 3}


async def test_each_host_has_less_than_no_slot_left_while_a_spare_agent_sits_in_the_place_of_an_instance() -> None:
    team, scheduler = await scene()
    await recruit(team, 1, instance_id="spare_1", recipe="r", stage=InstanceStage.SPARE, host="worker")
    await recruit(team, 2, host="worker")
    assert (scheduler.slots_left(""), scheduler.slots_left("worker")) == (4, 1)
    scheduler._promised += [Placement(host="worker", address="2", own=False) for _ in range(2)]
    assert scheduler.slots_left("worker") == -1
