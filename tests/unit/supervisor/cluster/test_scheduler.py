from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from actors.errors import InvalidRequestError, UnavailableError
from actors.nodes import Node
from supervisor.cluster import scheduler as roster_module
from supervisor.cluster.scheduler import PLACE_S, HostScheduler, PlacementCancelledError, PlacementRequest
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Member
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import READY, record


def node(name: str, slots: int | None = 2, memory_gb: int = 0) -> Node:
    return Node(name=name, address=f"10.0.0.{name[-1]}", slots=slots, memory_bytes=memory_gb << 30)


class Cluster:
    """A ``ClusterPort`` whose hosts come and go as the test says."""

    def __init__(self, *nodes: Node) -> None:
        self.there = list(nodes)
        self.wanted: list[int] = []
        self.connected: list[str] = []

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(self.there)

    async def connect(self, found: Node) -> Any:
        await asyncio.sleep(1)
        self.connected.append(found.name)
        return f"link to {found.name}"

    async def want_slots(self, count: int) -> None:
        self.wanted.append(count)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_module, "time", virtual_time.clock())


class Instances:
    """A registry of running instances on these hosts, by id."""

    def __init__(self, hosts: dict[str, str]) -> None:
        self._hosts = hosts

    def __iter__(self) -> Iterator[Member]:
        for number, (instance_id, host) in enumerate(self._hosts.items()):
            yield Member(record(number, instance_id=instance_id, host=host), READY)

    def spares(self) -> tuple[Member, ...]:
        return ()


def roster_of(cluster: Any, most: int = 0, holders: dict[str, str] | None = None) -> HostScheduler:
    own: Any = "own link"
    registry: Any = Instances({} if holders is None else holders)
    return HostScheduler("host1", own, cluster, registry, InstanceLinks(), most_per_host=most)


def test_a_promise_counts_until_it_is_given_back_and_not_twice_once_its_instance_counts_itself() -> None:
    async def play() -> None:
        holders = dict[str, str]()
        scheduler = roster_of(Cluster(node("host1", 1), node("host2", 1)), holders=holders)
        async with scheduler.placed(PlacementRequest()) as first:
            first.instance_id = "spec_0_0_1"
            holders["spec_0_0_1"] = first.host
            async with scheduler.placed(PlacementRequest()) as second:
                assert {first.host, second.host} == {"host1", "host2"}
        assert scheduler.slots_left("host1") == (0 if first.own else 1)
        holders.clear()
        assert scheduler.slots_left("host1") == 1

    virtual_time.run(play)


def test_who_finds_no_room_waits_tells_the_autoscaler_and_goes_on_where_a_host_has_come() -> None:
    async def play() -> None:
        cluster = Cluster(node("host1", 1))
        scheduler, placed = roster_of(cluster, holders={"spec_0_0_1": "host1"}), list[str]()

        async def place() -> None:
            async with scheduler.placed(PlacementRequest()) as placement:
                placed.append(placement.host)
                await asyncio.sleep(60)

        waiting = [asyncio.create_task(place()) for _ in range(2)]
        await asyncio.sleep(10)
        assert cluster.wanted[-1] == 3
        cluster.there.append(node("host2", 2))
        await asyncio.gather(*waiting)
        assert placed == ["host2", "host2"]
        assert cluster.wanted[-1] == 0

    virtual_time.run(play)


def test_who_waits_too_long_is_refused_and_one_who_gives_up_leaves_nothing_promised() -> None:
    async def play() -> None:
        cluster = Cluster(node("host1", 1))
        scheduler = roster_of(cluster, holders={"spec_0_0_1": "host1"})

        async def place() -> None:
            async with scheduler.placed(PlacementRequest()):
                raise AssertionError("there is no room")

        impatient = asyncio.create_task(place())
        await asyncio.sleep(5)
        impatient.cancel()
        with pytest.raises(UnavailableError, match=f"{PLACE_S:.0f} s"):
            await place()
        assert cluster.wanted[-1] == 0
        assert scheduler.slots_left("host1") == 0

    virtual_time.run(play)


def test_the_autoscaler_hears_at_once_that_nobody_waits_any_more_when_a_place_is_not_needed() -> None:
    async def play() -> None:
        cluster, needed = Cluster(node("host1", 1)), True
        scheduler = roster_of(cluster, holders={"spec_0_0_1": "host1"})

        async def place() -> None:
            async with scheduler.placed(PlacementRequest(), lambda: needed):
                raise AssertionError("there is no room")

        waiting = asyncio.create_task(place())
        await asyncio.sleep(10)
        assert cluster.wanted[-1] == 2
        needed = False
        await asyncio.sleep(5)
        assert cluster.wanted[-1] == 0
        with pytest.raises(PlacementCancelledError):
            await waiting

    virtual_time.run(play)


def test_a_host_without_slots_has_room_by_its_memory_and_none_has_more_than_the_cap() -> None:
    async def play() -> None:
        scheduler = roster_of(Cluster(node("host1", None, memory_gb=5), node("host2", 100)), most=6)
        assert {each.name: each.slots for each in await scheduler.nodes()} == {"host1": 6, "host2": 6}
        free = roster_of(Cluster(node("host1", None, memory_gb=5)))
        assert [each.slots for each in await free.nodes()] == [8]

    virtual_time.run(play)


def test_an_instance_keeps_its_slot_over_a_restart_and_waits_for_it_when_it_was_given_away() -> None:
    async def play() -> None:
        holders = {"spec_0_0_1": "host1"}
        scheduler = roster_of(Cluster(node("host1", 1), node("host2", 1)), holders=holders)
        await scheduler.nodes()
        async with scheduler.kept("spec_0_0_1", "host1"):
            assert scheduler.slots_left("host1") == 0
        holders["spec_0_0_2"] = holders.pop("spec_0_0_1")

        async def restart() -> None:
            async with scheduler.kept("spec_0_0_1", "host1"):
                assert scheduler.slots_left("host1") == 0

        restarting = asyncio.create_task(restart())
        await asyncio.sleep(10)
        assert not restarting.done()
        holders.clear()
        await restarting

    virtual_time.run(play)


def test_a_drained_host_takes_nobody_new_but_who_was_there_may_start_again() -> None:
    async def play() -> None:
        scheduler = roster_of(Cluster(node("host1"), node("host2")))
        scheduler.drained = {"host2"}
        with pytest.raises(InvalidRequestError, match="drained"):
            async with scheduler.placed(PlacementRequest(host="host2")):
                pass
        async with scheduler.kept("spec_0_0_1", "host2"):
            pass

    virtual_time.run(play)


def test_an_instance_whose_host_is_away_cannot_start_again_there() -> None:
    async def play() -> None:
        scheduler = roster_of(Cluster(node("host1")))
        with pytest.raises(UnavailableError, match="host2 is away"):
            async with scheduler.kept("spec_0_0_1", "host2"):
                pass

    virtual_time.run(play)


def test_a_host_is_connected_to_once_however_many_ask_and_again_only_when_it_is_needed() -> None:
    async def play() -> None:
        cluster = Cluster(node("host1"), node("host2"))
        scheduler = roster_of(cluster)
        assert {str(link) for link in await asyncio.gather(*(scheduler.link("host2") for _ in range(5)))} == {
            "link to host2"
        }
        assert cluster.connected == ["host2"]
        assert sorted(scheduler.linked()) == ["host1", "host2"]
        with pytest.raises(UnavailableError, match="host3 is away"):
            await scheduler.link("host3")

    virtual_time.run(play)


def test_a_host_that_is_drained_while_a_spawn_waits_for_room_does_not_get_it() -> None:
    async def play() -> None:
        cluster, holders = Cluster(node("host1", 1), node("host2", 1)), {"one": "host1", "two": "host2"}
        scheduler, placed = roster_of(cluster, holders=holders), list[str]()

        async def place() -> None:
            async with scheduler.placed(PlacementRequest()) as placement:
                placed.append(placement.host)

        waiting = asyncio.create_task(place())
        await asyncio.sleep(5)
        scheduler.drained = {"host2"}
        del holders["two"]
        await asyncio.sleep(10)
        assert placed == []
        del holders["one"]
        await waiting
        assert placed == ["host1"]

    virtual_time.run(play)


def test_a_placement_may_be_shifted_to_a_host_that_leaves_the_spread_uneven_by_one_and_counts_there() -> None:
    async def play() -> None:
        holders = {"a": "host1", "b": "host2", "c": "host2"}
        scheduler = roster_of(Cluster(node("host1", 4), node("host2", 4), node("host3", 4)), holders=holders)
        async with scheduler.placed(PlacementRequest()) as placement:
            assert placement.host == "host3"
            assert scheduler.choices(placement) == ["host3", "host1"]
            scheduler.shift(placement, "host1")
            assert (placement.host, placement.address, placement.own) == ("host1", "10.0.0.1", True)
            assert [scheduler.slots_left(name) for name in ("host1", "host3")] == [2, 4]
            assert scheduler.choices(placement) == ["host1", "host3"]

    virtual_time.run(play)


def test_a_spawn_for_one_host_may_be_nowhere_else_for_the_sake_of_a_spare() -> None:
    async def play() -> None:
        scheduler = roster_of(Cluster(node("host1", 4), node("host2", 4)))
        async with scheduler.placed(PlacementRequest(host="host2")) as placement:
            assert scheduler.choices(placement) == ["host2"]

    virtual_time.run(play)
