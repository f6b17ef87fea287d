"""Where instances are placed, which slots are taken, and for how long a missing host is waited for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest

from actors.errors import InvalidRequestError, UnavailableError
from actors.nodes import ELASTIC_LABEL, Node
from actors.status import Status
from supervisor.cluster.scheduler import (
    FENCE_S,
    PLACE_S,
    RETURN_S,
    HostScheduler,
    PlacementCancelledError,
    PlacementRequest,
    choose,
    nearly_as_good,
)
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.hosts import FakeCluster, FakeHost
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, SECOND, record

ANY = PlacementRequest()
SMALL = Node(name="small", address="10.0.0.1", slots=2)
LARGE = Node(name="large", address="10.0.0.2", slots=8, labels={"disk": "fast"})
OTHER = Node(name="other", address="10.0.0.3", slots=2, labels={"disk": "slow"})


def spread(count: int, *nodes: Node) -> Counter[str]:
    used: Counter[str] = Counter()
    for _ in range(count):
        node = choose(ANY, nodes, used, ())
        assert node is not None
        used[node.name] += 1
    return used


def test_hosts_get_instances_by_their_share_of_the_slots() -> None:
    assert spread(4, SMALL, OTHER) == {"small": 2, "other": 2}
    assert spread(6, SMALL, LARGE, OTHER) == {"large": 4, "small": 1, "other": 1}


@pytest.mark.parametrize(
    ("wanted", "used", "drained", "chosen"),
    [
        (ANY, {"small": 2, "large": 7, "other": 2}, (), LARGE),
        (ANY, {"small": 2, "large": 8, "other": 2}, (), None),
        (ANY, {}, ("large", "small"), OTHER),
        (PlacementRequest(host="other"), {}, (), OTHER),
        (PlacementRequest(host="10.0.0.3"), {}, (), OTHER),
        (PlacementRequest(host="other"), {"other": 2}, (), None),
        (PlacementRequest(labels={"disk": "slow"}), {}, (), OTHER),
    ],
    ids=str,
)
def test_an_instance_goes_to_a_host_that_fits_has_room_and_is_not_drained(
    wanted: PlacementRequest, used: dict[str, int], drained: tuple[str, ...], chosen: Node | None
) -> None:
    assert choose(wanted, (SMALL, LARGE, OTHER), used, drained) == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (PlacementRequest(labels={"disk": "none"}), r"disk=none\. There are: small, large"),
        (PlacementRequest(host="large"), "large is drained"),
        (PlacementRequest(labels={"disk": "fast"}), "Every host that is disk=fast is drained"),
    ],
    ids=str,
)
def test_what_no_host_will_ever_take_is_refused_with_the_reason(wanted: PlacementRequest, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        choose(wanted, (SMALL, LARGE), {}, {"large"})


def test_a_host_that_offers_no_slots_takes_no_instance() -> None:
    assert choose(ANY, (replace(SMALL, slots=None),), {}, ()) is None


@pytest.mark.parametrize(
    ("nodes", "used", "near"),
    [
        ((SMALL, OTHER), {}, ["small", "other"]),
        ((SMALL, OTHER), {"small": 1}, ["other", "small"]),
        ((SMALL, OTHER), {"small": 2}, ["other"]),
        ((SMALL, OTHER), {"small": 2, "other": 2}, []),
        ((LARGE, SMALL), {"large": 2}, ["small"]),
        ((LARGE, SMALL), {"large": 5, "small": 1}, ["small", "large"]),
    ],
    ids=str,
)
def test_nearly_as_good_are_hosts_that_would_be_the_best_with_one_instance_less(
    nodes: tuple[Node, ...], used: dict[str, int], near: list[str]
) -> None:
    assert [each.name for each in nearly_as_good(ANY, nodes, used, ())] == near


def test_nearly_as_good_is_no_host_that_does_not_fit_or_is_drained() -> None:
    assert nearly_as_good(PlacementRequest(labels={"disk": "fast"}), (SMALL, LARGE), {}, ()) == [LARGE]
    assert nearly_as_good(ANY, (SMALL, OTHER), {}, {"other"}) == [SMALL]


def node(name: str, slots: int | None = 1, memory_gb: int = 0) -> Node:
    return Node(name=name, address=f"10.0.0.{name[-1]}", slots=slots, memory_bytes=memory_gb << 30)


class Scene:
    """A scheduler on ``host1``, and the instances that take slots."""

    def __init__(self, *nodes: Node, most: int = 0) -> None:
        self.cluster = FakeCluster(*nodes, connect_s=1.0)
        self.team = Team(MemoryStore())
        self.scheduler = HostScheduler(
            "host1", FakeHost("host1"), self.cluster, self.team.registry, self.team.links, most_per_host=most
        )
        self.placed: list[str] = []

    def add(self, number: int, host: str, status: Status = Status.READY, **changes: object) -> Member:
        member = self.team.registry.restore(record(number, host=host, **changes), now=1.0)
        member.snapshot = replace(READY, status=status)
        return member

    async def look(self, *nodes: Node) -> None:
        """A second later, when these hosts are there."""
        self.cluster.nodes_now = list(nodes)
        await asyncio.sleep(1.1)
        await self.scheduler.nodes()

    async def place(self, hold_s: float = 0.0, needed: list[bool] | None = None) -> None:
        async with self.scheduler.placed(ANY, lambda: needed is None or bool(needed)) as placement:
            self.placed.append(placement.host)
            await asyncio.sleep(hold_s)


async def test_a_promise_counts_until_it_is_given_back_and_not_twice_once_its_instance_counts_itself() -> None:
    scene = Scene(node("host1"), node("host2"))
    async with scene.scheduler.placed(ANY) as first:
        first.instance_id = FIRST
        scene.add(1, first.host)
        async with scene.scheduler.placed(ANY) as second:
            assert {first.host, second.host} == {"host1", "host2"}
    assert scene.scheduler.slots_left(first.host) == 0
    scene.team.registry.remove(FIRST)
    assert scene.scheduler.slots_left(first.host) == 1


async def test_a_spawn_without_room_tells_the_autoscaler_and_goes_on_where_a_host_has_come() -> None:
    scene = Scene(node("host1"))
    scene.add(1, "host1")
    waiting = [asyncio.create_task(scene.place(60)) for _ in range(2)]
    await asyncio.sleep(10)
    assert scene.cluster.wanted[-1] == 3
    scene.cluster.nodes_now.append(node("host2", 2))
    await asyncio.gather(*waiting)
    assert scene.placed == ["host2", "host2"]
    assert scene.cluster.wanted[-1] == 0


async def test_a_spawn_that_waits_too_long_is_refused_and_one_that_is_cancelled_leaves_nothing_promised() -> None:
    scene = Scene(node("host1"))
    scene.add(1, "host1")
    impatient = asyncio.create_task(scene.place())
    await asyncio.sleep(5)
    impatient.cancel()
    with pytest.raises(UnavailableError, match=f"{PLACE_S:.0f} s"):
        await scene.place()
    assert scene.cluster.wanted[-1] == 0
    assert scene.scheduler.slots_left("host1") == 0


async def test_the_autoscaler_hears_at_once_when_a_place_is_not_needed_any_more() -> None:
    scene, needed = Scene(node("host1")), [True]
    scene.add(1, "host1")
    waiting = asyncio.create_task(scene.place(needed=needed))
    await asyncio.sleep(10)
    assert scene.cluster.wanted[-1] == 2
    needed.clear()
    await asyncio.sleep(5)
    assert scene.cluster.wanted[-1] == 0
    with pytest.raises(PlacementCancelledError):
        await waiting


async def test_a_host_without_slots_has_room_by_its_memory_and_none_has_more_than_the_cap() -> None:
    capped = Scene(node("host1", None, memory_gb=5), node("host2", 100), most=6)
    assert [each.slots for each in await capped.scheduler.nodes()] == [6, 6]
    assert [each.slots for each in await Scene(node("host1", None, memory_gb=5)).scheduler.nodes()] == [8]


async def test_an_instance_keeps_its_slot_over_a_restart_and_waits_for_it_when_it_was_given_away() -> None:
    scene = Scene(node("host1"), node("host2"))
    scene.add(1, "host1")
    await scene.scheduler.nodes()
    async with scene.scheduler.kept(FIRST, "host1"):
        assert scene.scheduler.slots_left("host1") == 0
    scene.team.registry.remove(FIRST)
    scene.add(2, "host1")

    async def restart() -> None:
        async with scene.scheduler.kept(FIRST, "host1"):
            assert scene.scheduler.slots_left("host1") == 0

    restarting = asyncio.create_task(restart())
    await asyncio.sleep(10)
    assert not restarting.done()
    scene.team.registry.remove(SECOND)
    await restarting


async def test_an_instance_may_start_again_on_its_drained_host_but_not_on_one_that_is_away() -> None:
    scene = Scene(node("host1"), node("host2"))
    scene.scheduler.drained = {"host2"}
    async with scene.scheduler.kept(FIRST, "host2"):
        pass
    with pytest.raises(UnavailableError, match="host3 is away"):
        async with scene.scheduler.kept(FIRST, "host3"):
            pass


async def test_a_host_is_connected_to_once_however_many_ask_and_only_if_it_is_there() -> None:
    scene = Scene(node("host1"), node("host2"))
    assert len({id(link) for link in await asyncio.gather(*(scene.scheduler.link("host2") for _ in range(5)))}) == 1
    assert scene.cluster.connected == ["host2"]
    assert sorted(scene.scheduler.linked()) == ["host1", "host2"]
    with pytest.raises(UnavailableError, match="host3 is away"):
        await scene.scheduler.link("host3")


async def test_a_host_that_is_drained_while_a_spawn_waits_for_room_does_not_get_it() -> None:
    scene = Scene(node("host1"), node("host2"))
    scene.add(1, "host1")
    scene.add(2, "host2")
    waiting = asyncio.create_task(scene.place())
    await asyncio.sleep(5)
    scene.scheduler.drained = {"host2"}
    scene.team.registry.remove(SECOND)
    await asyncio.sleep(10)
    assert scene.placed == []
    scene.team.registry.remove(FIRST)
    await waiting
    assert scene.placed == ["host1"]


async def test_a_placement_may_be_shifted_to_a_host_that_leaves_the_spread_uneven_by_one_and_counts_there() -> None:
    scene = Scene(node("host1", 4), node("host2", 4), node("host3", 4))
    for number, host in enumerate(("host1", "host2", "host2"), 1):
        scene.add(number, host)
    scheduler = scene.scheduler
    async with scheduler.placed(ANY) as placement:
        assert placement.host == "host3"
        assert scheduler.choices(placement) == ["host3", "host1"]
        scheduler.shift(placement, "host1")
        assert (placement.host, placement.address, placement.own) == ("host1", "10.0.0.1", True)
        assert [scheduler.slots_left(name) for name in ("host1", "host3")] == [2, 4]
        assert scheduler.choices(placement) == ["host1", "host3"]
    async with scheduler.placed(PlacementRequest(host="host2")) as placement:
        assert scheduler.choices(placement) == ["host2"], "the spawn names it"


async def test_an_instance_takes_a_slot_while_it_lives_starts_or_has_its_actor() -> None:
    scene = Scene(node("host1"), node("host2"))
    scene.add(1, "host1")
    scene.add(2, "host2", Status.FAILED, stage=InstanceStage.STARTING)
    scene.add(3, "host2", Status.STOPPED, stage=InstanceStage.STOPPED)
    scene.add(4, "host2", Status.FAILED, stage=InstanceStage.FAILED)
    scene.team.links.follow("spec_0_0_4", FakeInstance(), "first", FakeListener())
    assert scene.scheduler.instance_hosts() == {FIRST: "host1", SECOND: "host2", "spec_0_0_4": "host2"}
    await scene.team.links.leave_all()


async def test_a_spare_agent_takes_a_slot_and_leaves_less_than_none_where_an_instance_needs_it() -> None:
    scene = Scene(node("host1"), node("host2"))
    assert scene.scheduler.slots_left("host2") == 1, "it has not been seen yet"
    await scene.scheduler.nodes()
    scene.add(1, "", instance_id="spare_1", recipe="r", stage=InstanceStage.SPARE)
    scene.add(2, "host2", instance_id="spare_2", recipe="r", stage=InstanceStage.SPARE)
    scene.add(3, "host2")
    assert (scene.scheduler.slots_left(""), scene.scheduler.slots_left("host2")) == (0, -1)
    assert scene.scheduler.used() == {"host2": 1}


async def test_hosts_that_are_elastic_or_drained_are_none_that_last() -> None:
    elastic = replace(node("host3"), labels={ELASTIC_LABEL: "true"})
    scene = Scene(node("host1"), node("host2"), elastic)
    await scene.scheduler.nodes()
    scene.scheduler.drained = {"host2"}
    assert [each.name for each in scene.scheduler.lasting()] == ["host1"]


async def test_instances_of_a_lost_host_start_elsewhere_when_no_copy_there_may_type_each_time_anew() -> None:
    scene = Scene()
    for _ in range(2):
        await scene.look(node("host1"), node("host2"))
        await asyncio.sleep(FENCE_S)
        assert not scene.scheduler.is_lost("host2")
        await scene.look(node("host1"))
        assert scene.scheduler.is_lost("host2")
        await asyncio.sleep(FENCE_S - 0.5)
        assert not scene.scheduler.may_be_replaced("host2", None)
        await asyncio.sleep(1)
        assert scene.scheduler.may_be_replaced("host2", None)


async def test_an_instance_of_a_lost_host_starts_elsewhere_so_long_after_it_was_heard_of_last() -> None:
    scene = Scene()
    await scene.look(node("host1"), node("host2"))
    heard_at = time.monotonic()
    await asyncio.sleep(FENCE_S + 10)
    assert not scene.scheduler.may_be_replaced("host2", heard_at), "Ray does not take its host for dead"
    await scene.look(node("host1"))
    assert scene.scheduler.may_be_replaced("host2", heard_at)
    assert not scene.scheduler.may_be_replaced("host2", heard_at + 30)
    await asyncio.sleep(30)
    assert scene.scheduler.may_be_replaced("host2", heard_at + 30)


async def test_a_host_that_has_not_joined_a_new_head_yet_is_waited_for_longer() -> None:
    scene = Scene(node("host1"))
    assert not scene.scheduler.is_lost("host2"), "nothing was seen yet"
    await scene.scheduler.nodes()
    await asyncio.sleep(RETURN_S - 1)
    assert not scene.scheduler.is_lost("host2")
    assert not scene.scheduler.may_be_replaced("host2", None)
    await asyncio.sleep(1)
    assert scene.scheduler.is_lost("host2")
    assert scene.scheduler.may_be_replaced("host2", None)
