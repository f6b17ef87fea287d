from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.nodes import ELASTIC_LABEL, Node
from supervisor.cluster.scheduler import HostScheduler, PlacementRequest
from supervisor.cluster.service import LET_GO_S, HostConnector
from tests.fakes.hosts import FakeCluster, FakeHost


@pytest.fixture
def cluster() -> FakeCluster:
    cloud = Node(name="cloud", address="3", slots=2, labels={ELASTIC_LABEL: "true"})
    return FakeCluster(Node(name="head", address="1", slots=1), Node(name="worker", address="2", slots=2), cloud)


@pytest.fixture
async def scheduler(cluster: FakeCluster) -> AsyncIterator[HostScheduler]:
    made = HostScheduler("head", FakeHost("head"), cluster, 0)
    connector = HostConnector(made)
    connector.begin()
    yield made
    await connector.end()


async def test_every_host_that_stays_is_connected_to_once_and_never_let_go_of(
    cluster: FakeCluster, scheduler: HostScheduler
) -> None:
    await asyncio.sleep(LET_GO_S * 5)
    assert cluster.connected == ["worker"]
    assert cluster.left == []


async def test_a_host_that_cannot_be_connected_to_is_tried_again(
    cluster: FakeCluster, scheduler: HostScheduler
) -> None:
    cluster.refuses.add("worker")
    await asyncio.sleep(10)
    assert cluster.connected == []
    cluster.refuses.clear()
    await asyncio.sleep(60)
    assert cluster.connected == ["worker"]


async def test_an_elastic_host_is_let_go_of_only_when_nothing_of_the_team_has_been_there_for_a_while(
    cluster: FakeCluster, scheduler: HostScheduler
) -> None:
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


async def test_an_elastic_host_that_was_let_go_of_is_connected_to_again_when_it_is_needed(
    cluster: FakeCluster, scheduler: HostScheduler
) -> None:
    await scheduler.link("cloud")
    await asyncio.sleep(LET_GO_S * 2)
    scheduler.places["spec_0_0_1"] = "cloud"
    await scheduler.link("cloud")
    await asyncio.sleep(LET_GO_S * 2)
    assert cluster.connected.count("cloud") == 2
    assert cluster.left == ["cloud"]
