"""Where in a cluster the next spare is made, where spares may be, and what of earlier spares is cleared away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.concurrency import TaskSet
from actors.errors import UnavailableError
from actors.nodes import ELASTIC_LABEL, Node
from supervisor.cluster.scheduler import RETURN_S, HostScheduler
from supervisor.pool.placement import SparePlacement, StaleSpareCleaner
from supervisor.pool.pool import PAUSE_S
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.hosts import FakeCluster, FakeHost
from tests.fakes.pools import FakePlacement
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, record

HEAD, WORKER = (Node(name=name, address=f"at {name}", slots=3) for name in ("head", "worker"))
CLOUD = Node(name="cloud", address="at cloud", slots=9, labels={ELASTIC_LABEL: "true"})


class Scene:
    """The placement of a cluster, and the memory of the own host."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.cluster = FakeCluster(HEAD, WORKER, CLOUD)
        host = FakeHost("head")
        self.scheduler = HostScheduler("head", host, self.cluster, self.team.registry, self.team.links)
        self.has_memory = True
        memory: Any = self
        self.placement = SparePlacement(host, memory, self.scheduler)

    async def fits(self, agent: str) -> bool:
        return self.has_memory

    async def look(self, *nodes: Node) -> None:
        """A second later, when these hosts are there."""
        self.cluster.nodes_now = list(nodes)
        await asyncio.sleep(1.1)
        await self.scheduler.nodes()

    async def add(self, number: int, host: str, **changes: Any) -> None:
        await add_member(self.team, number, host=host, **changes)

    async def make(self, number: int) -> str:
        """The host of a spare agent that is made now."""
        place = await self.placement.for_agent("demo")
        assert place.elsewhere == ("" if place.host == "head" else place.host)
        await self.add(number, place.host, instance_id=f"spare_{number}", recipe="r", stage=InstanceStage.SPARE)
        return place.host

    def state(self, host: str) -> str:
        if self.placement.is_open(host):
            return "open"
        if self.placement.is_lost(host):
            assert self.placement.is_closed(host)
            return "lost"
        return "closed" if self.placement.is_closed(host) else "waited for"


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_spare_agents_are_spread_with_the_instances_and_stay_off_hosts_that_come_and_go(scene: Scene) -> None:
    await scene.add(1, "head")
    await scene.add(2, "head")
    assert [await scene.make(number) for number in range(3, 7)] == ["worker", "worker", "worker", "head"]
    with pytest.raises(UnavailableError, match="No host has room"):
        await scene.make(7)


async def test_no_spare_agent_is_made_where_there_is_no_memory_or_the_host_is_drained(scene: Scene) -> None:
    await scene.add(1, "worker")
    scene.has_memory = False
    assert await scene.make(2) == "worker"
    scene.has_memory = True
    scene.scheduler.drained = {"head"}
    assert await scene.make(3) == "worker"


async def test_spare_worktrees_are_spread_by_themselves(scene: Scene) -> None:
    await scene.make(1)
    there: list[str] = []
    for _ in range(4):
        there.append((await scene.placement.for_worktree(lambda: there)).host)
    assert sorted(there) == ["head", "head", "worker", "worker"]


async def test_a_host_is_open_while_it_is_there_and_not_drained(scene: Scene) -> None:
    assert scene.state("worker") == "waited for"
    await scene.look(HEAD, WORKER)
    assert (scene.state("head"), scene.state("worker")) == ("open", "open")
    scene.scheduler.drained = {"worker"}
    assert scene.state("worker") == "closed"
    await scene.look(HEAD)
    assert (scene.state("head"), scene.state("worker")) == ("open", "lost")


async def test_what_is_on_a_host_that_has_not_joined_a_new_head_yet_is_kept_while_the_host_is_waited_for(
    scene: Scene,
) -> None:
    await scene.look(HEAD)
    await asyncio.sleep(RETURN_S - 3)
    await scene.look(HEAD, CLOUD)
    assert scene.state("worker") == "waited for"
    await asyncio.sleep(2)
    assert scene.state("worker") == "lost"


async def test_a_host_that_was_lost_is_one_to_be_cleared_anew_when_it_is_back(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    assert scene.placement.linked == {"head", "worker"}
    for there in ((HEAD,), (HEAD, WORKER)):
        await scene.look(*there)
        assert scene.placement.linked == {node.name for node in there}


class CleanerScene:
    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.placement = FakePlacement()
        self.tasks = TaskSet("clear")

    def begin(self) -> None:
        self.tasks.begin(StaleSpareCleaner(self.team, self.placement).keep())

    def host(self, name: str) -> FakeHost:
        return self.placement.hosts[name]

    def looks(self, *names: str) -> list[int]:
        return [self.host(name).asked["orphans"] for name in names]


@pytest.fixture
async def cleaner() -> AsyncIterator[CleanerScene]:
    made = CleanerScene()
    yield made
    await made.tasks.end()


async def test_what_a_host_has_kept_of_spares_goes_when_it_is_back_and_what_an_instance_had_stays(
    cleaner: CleanerScene,
) -> None:
    cleaner.placement.there.remove("b")
    cleaner.begin()
    await asyncio.sleep(PAUSE_S + 1)
    host = cleaner.host("b")
    host.worktrees, host.branches = ["spare_7", "spare_8", "exec_1"], {"spare_8": "phalanx/spec_0_0_1"}
    host.directories = ["exec_1", "spare_3", "spare_7"]
    cleaner.team.registry.restore(record(1, spare="spare_3"), now=1.0)
    cleaner.placement.there.append("b")
    await asyncio.sleep(PAUSE_S * 4)
    assert host.log.calls == ["collect spare_7", "forget spare_7"]
    assert host.directories == ["exec_1", "spare_3"]


async def test_a_host_that_does_not_answer_is_cleared_when_it_does_and_only_that_host(cleaner: CleanerScene) -> None:
    host = cleaner.host("b")
    host.silent, host.worktrees = True, ["spare_7"]
    cleaner.begin()
    await asyncio.sleep(PAUSE_S * 2 + 1)
    host.silent = False
    await asyncio.sleep(PAUSE_S * 8)
    assert host.log.calls == ["collect spare_7"]
    assert cleaner.looks("a", "c") == [1, 1]


async def test_what_cannot_go_is_tried_ever_more_seldom_and_keeps_only_its_own_directory(
    cleaner: CleanerScene,
) -> None:
    host = cleaner.host("a")
    host.in_use, host.worktrees, host.directories = True, ["spare_7"], ["spare_6", "spare_7"]
    cleaner.begin()
    await asyncio.sleep(3600)
    assert host.directories == ["spare_7"]
    (looks,) = cleaner.looks("a")
    assert 5 < looks < 12
    assert cleaner.looks("b", "c") == [1, 1]
    host.in_use = False
    await asyncio.sleep(3600)
    assert (host.worktrees, host.directories) == ([], [])
