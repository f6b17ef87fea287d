from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.nodes import ELASTIC_LABEL, Node
from supervisor.cluster import scheduler as roster_module
from supervisor.cluster.scheduler import HostScheduler, PlacementRequest
from supervisor.cluster.service import LET_GO_S, HostConnector
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Registry
from tests.unit.supervisor import virtual_time


class Cluster:
    def __init__(self) -> None:
        self.connected: list[str] = []
        self.left: list[str] = []
        self.refuses: set[str] = set()

    async def nodes(self) -> tuple[Node, ...]:
        cloud = Node(name="cloud", address="3", slots=2, labels={ELASTIC_LABEL: "true"})
        return (Node(name="head", address="1", slots=1), Node(name="worker", address="2", slots=2), cloud)

    async def connect(self, node: Node) -> Any:
        if node.name in self.refuses:
            raise UnavailableError("it does not answer")
        self.connected.append(node.name)
        return node.name

    async def leave(self, name: str) -> None:
        self.left.append(name)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_module, "time", virtual_time.clock())


def played(test: Callable[[Cluster, HostScheduler], Awaitable[None]]) -> None:
    async def play() -> None:
        cluster: Any = Cluster()
        own: Any = "own"
        scheduler = HostScheduler("head", own, cluster, Registry(), InstanceLinks())
        connector = HostConnector(scheduler)
        connector.begin()
        try:
            await test(cluster, scheduler)
        finally:
            await connector.end()

    virtual_time.run(play)


def test_every_host_that_stays_is_connected_to_once_and_never_let_go_of() -> None:
    async def test(cluster: Cluster, scheduler: HostScheduler) -> None:
        await asyncio.sleep(LET_GO_S * 5)
        assert cluster.connected == ["worker"]
        assert cluster.left == []

    played(test)


def test_a_host_that_cannot_be_connected_to_is_tried_again() -> None:
    async def test(cluster: Cluster, scheduler: HostScheduler) -> None:
        cluster.refuses.add("worker")
        await asyncio.sleep(10)
        assert cluster.connected == []
        cluster.refuses.clear()
        await asyncio.sleep(60)
        assert cluster.connected == ["worker"]

    played(test)


def test_an_elastic_host_is_let_go_of_only_when_nothing_of_the_team_has_been_there_for_a_while() -> None:
    async def test(cluster: Cluster, scheduler: HostScheduler) -> None:
        await scheduler.link("cloud")
        scheduler.places["spec_0_0_1"] = "cloud"
        await asyncio.sleep(LET_GO_S * 3)
        assert cluster.left == []
        del scheduler.places["spec_0_0_1"]
        async with scheduler.placed(PlacementRequest(host="cloud")):
            await asyncio.sleep(LET_GO_S * 3)
            assert cluster.left == []
        await asyncio.sleep(LET_GO_S - 5)
        assert cluster.left == []
        await asyncio.sleep(10)
        assert cluster.left == ["cloud"]
        assert "cloud" not in scheduler.linked()

    played(test)


def test_an_elastic_host_that_was_let_go_of_is_connected_to_again_when_it_is_needed() -> None:
    async def test(cluster: Cluster, scheduler: HostScheduler) -> None:
        await scheduler.link("cloud")
        await asyncio.sleep(LET_GO_S * 2)
        scheduler.places["spec_0_0_1"] = "cloud"
        await scheduler.link("cloud")
        await asyncio.sleep(LET_GO_S * 2)
        assert cluster.connected.count("cloud") == 2
        assert cluster.left == ["cloud"]

    played(test)
