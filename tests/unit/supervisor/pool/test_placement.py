"""Where in a cluster the next spare is made, and where spares may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.nodes import ELASTIC_LABEL, Node
from supervisor.cluster import scheduler as roster_module
from supervisor.cluster.scheduler import RETURN_S, HostScheduler
from supervisor.pool.placement import ClusterPlacement
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor.stand_ins import recruit


class Scene:
    """The cluster, and the room of the own host."""

    def __init__(self) -> None:
        self.there = {"head": 3, "worker": 3, "cloud": 9}
        self.team = Team(MemoryStore())
        self.memory = True
        this: Any = self
        self.scheduler = HostScheduler("head", this, this, self.team.registry, self.team.members)
        self.placement = ClusterPlacement(this, this, self.scheduler)
        self._number = 0

    async def nodes(self) -> tuple[Node, ...]:
        labels = {"cloud": {ELASTIC_LABEL: "true"}}
        return tuple(
            Node(name=name, address=f"at {name}", slots=slots, labels=labels.get(name, {}))
            for name, slots in self.there.items()
        )

    async def connect(self, node: Node) -> Any:
        return self

    async def fits(self, agent: str) -> bool:
        return self.memory

    async def look(self, *there: str) -> None:
        """At the hosts, which are these now."""
        self.there, self.scheduler._looked_at = dict.fromkeys(there, 3), 0.0
        await self.scheduler.nodes()

    async def make(self) -> str:
        """The host of a spare agent that is made now."""
        place = await self.placement.for_agent("demo")
        self._number += 1
        await self.sit(place.host, instance_id=f"spare_{self._number}", recipe="r", stage=InstanceStage.SPARE)
        assert place.elsewhere == ("" if place.host == "head" else place.host)
        return place.host

    async def sit(self, host: str, **changes: Any) -> None:
        self._number += 1
        await recruit(self.team, self._number, host=host, **changes)


async def test_spare_agents_are_spread_with_the_instances_and_stay_off_hosts_that_come_and_go() -> None:
    scene = Scene()
    await scene.sit("head")
    await scene.sit("head")
    assert [await scene.make() for _ in range(4)] == ["worker", "worker", "worker", "head"]
    with pytest.raises(UnavailableError, match="No host has room"):
        await scene.make()


async def test_where_there_is_no_memory_or_the_host_is_drained_none_is_made() -> None:
    scene = Scene()
    scene.memory = False
    assert await scene.make() == "worker"
    scene.memory = True
    scene.scheduler.drained = {"worker"}
    assert await scene.make() == "head"
    assert scene.placement.is_closed("worker")
    assert not scene.placement.is_lost("worker")


async def test_spare_worktrees_are_spread_by_themselves() -> None:
    scene = Scene()
    await scene.make()
    there: list[str] = []
    for _ in range(4):
        there.append((await scene.placement.for_worktree(lambda: there)).host)
    assert sorted(there) == ["head", "head", "worker", "worker"]


async def test_a_host_is_lost_as_soon_as_the_others_are_seen_without_it() -> None:
    scene = Scene()
    assert not scene.placement.is_open("worker")
    assert not scene.placement.is_closed("worker")
    await scene.look("head", "worker")
    assert scene.placement.is_open("worker")
    await scene.look("head")
    assert scene.placement.is_open("head")
    assert not scene.placement.is_open("worker")
    assert scene.placement.is_closed("worker")
    assert scene.placement.is_lost("worker")


async def test_what_is_on_a_host_that_has_not_joined_a_new_head_yet_is_kept_while_the_host_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, clock = Scene(), SimpleNamespace(now=1000.0)
    monkeypatch.setattr(roster_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    await scene.look("head")
    clock.now += RETURN_S - 1
    await scene.look("head", "cloud")
    assert not scene.placement.is_open("worker")
    assert not scene.placement.is_closed("worker")
    assert not scene.placement.is_lost("worker")
    clock.now += 1
    assert scene.placement.is_closed("worker")
    assert scene.placement.is_lost("worker")


async def test_a_host_that_was_lost_is_one_to_be_looked_over_anew_when_it_is_back() -> None:
    scene = Scene()
    await scene.scheduler.link("worker")
    assert scene.placement.linked == {"head", "worker"}
    for there in (("head",), ("head", "worker")):
        await scene.look(*there)
        assert scene.placement.linked == set(there)
