"""The verbs of hosts, and when a host is connected to and released."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError
from actors.home import Home
from actors.nodes import ELASTIC_LABEL, Node
from supervisor.api import requests
from supervisor.api.verbs import Caller
from supervisor.cluster.migration import Drainer
from supervisor.cluster.scheduler import HostScheduler, PlacementRequest
from supervisor.cluster.service import LET_GO_S, ClusterService, HostConnector, NoClusterService
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Registry
from supervisor.team.team import Team
from tests.fakes.hosts import FakeCluster, FakeHost
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member


@pytest.fixture
def cluster() -> FakeCluster:
    cloud = Node(name="cloud", address="3", slots=2, labels={ELASTIC_LABEL: "true"})
    return FakeCluster(Node(name="head", address="1", slots=1), Node(name="worker", address="2", slots=2), cloud)


@pytest.fixture
async def scheduler(cluster: FakeCluster) -> AsyncIterator[HostScheduler]:
    made = HostScheduler("head", FakeHost("head"), cluster, Registry(), InstanceLinks())
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


@pytest.mark.parametrize(
    ("verb", "request_"), [("hosts", requests.HostsRequest()), ("drain", requests.DrainRequest(host="other"))]
)
async def test_a_team_on_one_machine_refuses_the_verbs_of_hosts_and_says_how_to_get_more(
    verb: str, request_: Any
) -> None:
    with pytest.raises(InvalidRequestError, match=r"on one machine, .*docs/cluster\.md"):
        await NoClusterService().verbs[verb](request_, Caller(sender="lead"))


class ClusterScene:
    """A team on ``head`` and ``worker`` with the verbs of hosts. Nothing can be handed over."""

    def __init__(self, home: Home) -> None:
        nodes = (Node(name=name, address=f"at {name}", slots=2) for name in ("head", "worker"))
        self.cluster = FakeCluster(*nodes)
        self.team = Team(MemoryStore())
        nothing: Any = None
        self.scheduler = HostScheduler("head", FakeHost("head"), self.cluster, self.team.registry, self.team.links)
        drainer = Drainer(self.team, self.scheduler, nothing, nothing, nothing, nothing)
        self.service = ClusterService(home, self.team, self.scheduler, drainer, ())
        self.told: list[tuple[int, int, str]] = []

    async def call(self, verb: str, request: Any) -> Any:
        caller = Caller(sender="lead", progress=lambda *told: self.told.append(told))
        return await self.service.verbs[verb](request, caller)


@pytest.fixture
def home(short_tmp: Path) -> Home:
    made = Home(short_tmp / "h")
    made.create()
    return made


@pytest.fixture
async def team_of_hosts(home: Home) -> AsyncIterator[ClusterScene]:
    made = ClusterScene(home)
    await made.service.begin()
    yield made
    await made.service.end()


async def test_hosts_are_listed_with_their_instances_and_lost_ones_as_long_as_they_have_any(
    team_of_hosts: ClusterScene,
) -> None:
    for number, host in enumerate(("worker", "worker", "gone"), 1):
        await add_member(team_of_hosts.team, number, host=host)
    await team_of_hosts.call("drain", requests.DrainRequest(host="worker", wait=False))
    listed = (await team_of_hosts.call("hosts", requests.HostsRequest())).hosts
    assert [(each.host, each.status, each.instances, each.slots, each.supervisor) for each in listed] == [
        ("head", "up", 0, 2, True),
        ("worker", "drained", 2, 2, False),
        ("gone", "away", 1, 0, False),
    ]


async def test_a_drain_ends_when_nothing_is_left_there_and_outlives_the_supervisor_until_it_is_undone(
    team_of_hosts: ClusterScene, home: Home
) -> None:
    with pytest.raises(InvalidRequestError, match=r"no host other.*head, worker"):
        await team_of_hosts.call("drain", requests.DrainRequest(host="other"))
    await add_member(team_of_hosts.team, 1, host="worker")
    draining = asyncio.create_task(team_of_hosts.call("drain", requests.DrainRequest(host="worker")))
    await asyncio.sleep(5)
    assert team_of_hosts.told[-1] == (0, 1, "spec_0_0_1 is handed over next")
    await team_of_hosts.team.remove("spec_0_0_1")
    assert (await draining).remaining == []

    later = ClusterScene(home)
    await later.service.begin()
    assert later.scheduler.drained == {"worker"}
    assert not (await later.call("drain", requests.DrainRequest(host="worker", undo=True))).drained
    await later.service.end()
    assert json.loads(home.drained_file.read_text()) == []
