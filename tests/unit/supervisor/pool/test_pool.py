"""What every pool promises, whatever its spares are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.concurrency import ChangeNotifier
from actors.errors import FencedError, StoreError, UnavailableError
from supervisor.pool.pool import EVERY_S, PAUSE_S, Pool, Spare, SpareMaker
from supervisor.spawning.admission import FairSemaphore
from tests.fakes.pools import maintained

MAKING_S = 1.0
UNUSED_S = 600.0


class Scene(SpareMaker[str, int]):
    """A pool and its maker, whose spares are numbers on the hosts ``a`` and ``b`` in turn."""

    what = "spare"

    def __init__(self, **more: Any) -> None:
        self.targets: dict[str, int] = {}
        self.permits = FairSemaphore(8)
        self.changes = ChangeNotifier()
        self.confirm_error: Exception | None = None
        self.error: dict[str, Exception] = {}
        self.obstacles: dict[str, str] = {}
        self.faults: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.ended: list[str] = []
        self.made = self.at_once = self.most_at_once = 0
        self.pool: Pool[str, int] = Pool(
            self, lambda: self.targets, self.permits, self.changes, self.confirm, **{"unused_s": 0.0, **more}
        )

    async def confirm(self) -> None:
        if self.confirm_error is not None:
            raise self.confirm_error

    def new_name(self, key: str) -> str:
        self.made += 1
        return f"{key}{self.made}"

    def obstacle(self, key: str) -> str:
        return self.obstacles.get(key, "")

    async def make(self, name: str, key: str) -> Spare[str, int]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(MAKING_S + int(name[1:]) / 1000)
        finally:
            self.at_once -= 1
        if key in self.error:
            raise self.error[key]
        return spare(name)

    async def recognise(self, spare: Spare[str, int]) -> str:
        await asyncio.sleep(1)
        return self.faults.get(spare.name, "")

    def fault(self, spare: Spare[str, int]) -> str:
        return self.faults.get(spare.name, "")

    async def end(self, spare: Spare[str, int]) -> None:
        await asyncio.sleep(1)
        if spare.name in self.stuck:
            raise UnavailableError("the host does not answer")
        self.ended.append(spare.name)

    def names(self, key: str | None = None) -> list[str]:
        return [spare.name for spare in self.pool.ready(key)]


def spare(name: str) -> Spare[str, int]:
    number = int(name[1:])
    return Spare(name=name, key=name[0], host="ab"[number % 2], content=number)


@asynccontextmanager
async def running(**more: Any) -> AsyncIterator[Scene]:
    scene = Scene(**more)
    async with maintained(scene.pool):
        scene.pool.recognise(())
        yield scene


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with running() as scene:
        yield scene


async def test_as_many_are_made_as_are_wanted_and_what_was_taken_is_made_anew(scene: Scene) -> None:
    scene.targets = {"x": 2, "y": 1}
    scene.pool.wake()
    await asyncio.sleep(5)
    assert scene.names() == ["x1", "x2", "y3"]
    taken = [scene.pool.take("x") for _ in range(3)]
    assert [each and each.name for each in taken] == ["x1", "x2", None]
    assert scene.pool.names == {"y3"}
    await asyncio.sleep(5)
    assert scene.names("x") == ["x4", "x5"]


async def test_the_host_that_is_wanted_most_comes_first_and_one_that_is_not_allowed_never(scene: Scene) -> None:
    scene.pool.order("x", 3)
    await asyncio.sleep(5)
    taken = [scene.pool.take("x", hosts) for hosts in (["a", "b"], ["a"], ["b", "a"])]
    assert [each and each.host for each in taken] == ["a", None, "b"]


async def test_no_more_are_made_at_once_than_the_cap_allows_and_none_while_a_caller_spawns(scene: Scene) -> None:
    scene.permits.resize(2)
    scene.targets = {"x": 3}
    async with scene.permits.hold("lead"):
        scene.pool.wake()
        await asyncio.sleep(60)
        assert scene.names() == []
        assert scene.pool.waits_for == "spawns of callers, which come first: 1 run, 0 wait"
    await asyncio.sleep(0.5)
    assert scene.pool.waits_for == "3 that are being made"
    assert len(scene.pool.names) == 3, "what is being made is the pool's own"
    await asyncio.sleep(10)
    assert len(scene.names()) == 3
    assert scene.most_at_once == 1, "one place stays free for a caller"
    assert scene.pool.waits_for == ""


async def test_nothing_is_made_before_it_is_known_what_an_earlier_supervisor_has_left() -> None:
    scene = Scene()
    scene.targets, scene.faults = {"x": 3}, {"x92": "it is bound"}
    async with maintained(scene.pool):
        await asyncio.sleep(60)
        assert scene.made == 0
        scene.pool.recognise(map(spare, ("x91", "x92", "x93", "y94")))
        assert scene.pool.names == {"x91", "x92", "x93", "y94"}
        assert scene.pool.take("x") is None, "it is not known yet whether it is good"
        scene.pool.recognise([spare("x91")])
        await asyncio.sleep(5)
        assert scene.names() == ["x91", "x93", "x1"]
        assert sorted(scene.ended) == ["x92", "y94"]


async def test_a_bad_one_is_given_to_nobody_and_replaced_and_one_that_cannot_be_ended_is_tried_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.targets, scene.stuck = {"x": 1}, {"x1"}
    scene.pool.wake()
    await asyncio.sleep(5)
    scene.faults["x1"] = "it has ended"
    scene.pool.wake()
    await asyncio.sleep(5)
    assert scene.names() == ["x2"]
    assert "x1" in scene.pool.names, "it is not gone yet"
    scene.stuck.clear()
    await asyncio.sleep(EVERY_S * 3)
    assert scene.ended == ["x1"]
    assert scene.pool.names == {"x2"}
    assert "the spare x1 is discarded: it has ended" in caplog.text


async def test_one_that_was_taken_and_could_not_be_used_is_ended(scene: Scene) -> None:
    scene.pool.order("x", 1)
    await asyncio.sleep(5)
    taken = scene.pool.take("x")
    assert taken is not None
    scene.pool.reject(taken, "it is not as it was made")
    await asyncio.sleep(5)
    assert scene.ended == ["x1"]
    assert scene.made == 1, "it was taken from the order"


async def test_what_is_too_much_goes_the_newest_first_but_stays_while_its_key_was_used_lately() -> None:
    async with running(unused_s=UNUSED_S) as scene:
        scene.targets = {"x": 3}
        await asyncio.sleep(UNUSED_S)
        scene.pool.use("x")
        scene.pool.wake()
        await asyncio.sleep(5)
        scene.targets = {"x": 1}
        scene.pool.wake()
        await asyncio.sleep(UNUSED_S - EVERY_S)
        assert scene.names() == ["x1", "x2", "x3"]
        await asyncio.sleep(EVERY_S * 3)
        assert scene.names() == ["x1"]
        scene.pool.use("x")
        scene.targets = {}
        scene.pool.trim()
        assert scene.names() == []


async def test_an_order_counts_what_was_taken_of_it_and_holds_beside_the_target(scene: Scene) -> None:
    scene.targets = {"x": 1}
    scene.pool.order("x", 3)
    assert (scene.pool.lacking("x"), scene.pool.wanted()["x"], scene.pool.orders) == (3, 3, {"x": 3})
    await asyncio.sleep(5)
    for _ in range(3):
        assert scene.pool.take("x") is not None
    await asyncio.sleep(5)
    assert (scene.pool.taken["x"], scene.pool.orders, len(scene.names())) == (3, {}, 1)
    assert scene.pool.take("x") is not None
    assert scene.pool.taken["x"] == 3


async def test_what_fails_is_told_and_no_longer_ordered_and_holds_up_no_other_key(scene: Scene) -> None:
    scene.error["x"] = UnavailableError("no host has room")
    scene.targets = {"y": 1}
    scene.pool.order("x", 2)
    await asyncio.sleep(5)
    assert scene.pool.errors["x"] == ["no host has room"] * 2
    assert scene.pool.lacking("x") == 0
    assert scene.names() == ["y1"]
    scene.pool.order("x", 2)
    del scene.error["x"]
    await asyncio.sleep(5)
    assert (len(scene.names("x")), scene.pool.errors["x"]) == (2, [])


async def test_a_target_that_failed_is_tried_again_after_a_pause_whatever_the_error_was(scene: Scene) -> None:
    scene.error["x"] = ValueError("a word of Ray's own")
    scene.targets = {"x": 1}
    scene.pool.wake()
    await asyncio.sleep(5)
    assert scene.pool.waits_for == "the next try in 26 s: a word of Ray's own"
    del scene.error["x"]
    await asyncio.sleep(PAUSE_S)
    assert len(scene.names()) == 1


async def test_a_key_of_which_none_can_be_made_says_what_it_waits_for(scene: Scene) -> None:
    scene.obstacles["x"] = "better times"
    scene.pool.order("x", 1)
    await asyncio.sleep(60)
    assert scene.made == 0
    assert scene.pool.waits_for == "better times"
    scene.obstacles.clear()
    scene.pool.wake()
    await asyncio.sleep(5)
    assert len(scene.names()) == 1


async def test_room_is_made_on_the_host_that_lacks_it_by_one_spare_at_a_time_and_none_is_made_for_a_while(
    scene: Scene,
) -> None:
    scene.pool.order("x", 4)
    await asyncio.sleep(5)
    scene.pool.give_up_one("c")
    scene.pool.give_up_one("a")
    scene.pool.give_up_one("a")
    await asyncio.sleep(2)
    assert scene.ended == ["x2"]
    assert scene.pool.errors["x"] == ["One was given up, because its room was needed."]
    scene.pool.give_up_one("")
    scene.pool.give_up_one("")
    await asyncio.sleep(2)
    assert scene.ended == ["x2", "x1"]
    scene.targets = {"x": 4}
    scene.pool.wake()
    await asyncio.sleep(5)
    assert scene.names() == ["x3", "x4"]
    await asyncio.sleep(PAUSE_S)
    assert len(scene.names()) == 4


async def test_who_was_replaced_by_another_supervisor_makes_no_more(scene: Scene) -> None:
    scene.confirm_error = FencedError("another supervisor has the state")
    scene.targets = {"x": 1}
    scene.pool.wake()
    await asyncio.sleep(5)
    scene.confirm_error = None
    await asyncio.sleep(EVERY_S * 3)
    assert scene.made == 0


@pytest.mark.parametrize("error", [StoreError("no space left"), ValueError("a word of Ray's own")])
async def test_trouble_with_the_store_ends_no_pool(scene: Scene, error: Exception) -> None:
    scene.confirm_error = error
    scene.targets = {"x": 1}
    scene.pool.wake()
    await asyncio.sleep(5)
    assert scene.made == 0
    scene.confirm_error = None
    await asyncio.sleep(PAUSE_S * 2)
    assert len(scene.names()) == 1


@pytest.mark.parametrize("team_ends", [True, False])
async def test_at_the_end_of_the_team_all_are_ended_and_at_the_end_of_a_supervisor_those_that_are_ready_stay(
    scene: Scene, team_ends: bool
) -> None:
    scene.pool.order("x", 3)
    await asyncio.sleep(MAKING_S + 0.1)
    scene.pool.order("x", 5)
    await asyncio.sleep(0.1)
    await (scene.pool.give_up() if team_ends else scene.pool.end())
    assert scene.at_once == 0
    assert sorted(scene.ended) == (["x1", "x2", "x3"] if team_ends else [])
    assert scene.pool.orders == ({} if team_ends else {"x": 5}), "what was cancelled did not fail"
