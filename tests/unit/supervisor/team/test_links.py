from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from actors.errors import FencedError, StoreError, UnavailableError, VersionError
from supervisor.team import links
from supervisor.team.links import InstanceLinks
from tests.fakes.instances import FakeInstance, FakeListener
from tests.fakes.team import FIRST


class Scene:
    """One instance that is followed."""

    def __init__(self) -> None:
        self.links = InstanceLinks()
        self.port = FakeInstance()
        self.listener = FakeListener(found=self.port)
        self.follow()

    def follow(self) -> None:
        self.links.follow(FIRST, self.port, "first", self.listener)

    async def tell(self, *sequences: int, incarnation: str = "first") -> None:
        for sequence in sequences:
            self.port.tells(sequence, incarnation=incarnation)
        await asyncio.sleep(1)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.links.leave_all()


async def test_asking_for_what_comes_next_acknowledges_only_what_was_taken_in(scene: Scene) -> None:
    scene.listener.refusals = [StoreError("no space left"), RuntimeError("a fault of ours")]
    for _ in range(3):
        scene.port.tells(5)
    await asyncio.sleep(2)
    await scene.tell(6)
    assert scene.listener.taken == [5, 6]
    assert [after for after, _ in scene.port.asked] == [0, 0, 0, 5, 6]


async def test_a_new_incarnation_takes_the_agent_over_and_is_followed_from_its_beginning(scene: Scene) -> None:
    await scene.tell(5)
    later = scene.listener.found = FakeInstance()
    later.incarnation = "second"
    await scene.tell(1, incarnation="second")
    later.tells(2, incarnation="second")
    await asyncio.sleep(1)
    assert scene.listener.searches == 1
    assert later.asked[0] == (0, "second")
    assert scene.listener.taken == [5, 2]
    assert scene.links.port(FIRST) is later


async def test_each_question_confirms_the_last_answer_of_this_incarnation_and_the_first_one_is_not_waited_for(
    scene: Scene,
) -> None:
    scene.port.tells(5, answer=1)
    await asyncio.sleep(1)
    scene.port.tells(6, answer=2)
    heard_at = time.monotonic()
    await asyncio.sleep(1)
    scene.port.is_silent()
    await asyncio.sleep(2)
    assert scene.port.confirmed == [0, 1, 2, 2]
    assert scene.port.waits_s[:2] == [0.0, links.POLL_S]
    assert scene.links.heard_at(FIRST) == pytest.approx(heard_at, abs=0.1)
    scene.listener.found = later = FakeInstance()
    scene.port.tells(1, incarnation="second", answer=3)
    await asyncio.sleep(1)
    assert later.confirmed == [0]
    await scene.links.leave(FIRST)
    assert scene.links.heard_at(FIRST) is None


async def test_an_actor_that_came_back_in_a_version_that_does_not_understand_us_is_told_of_in_words(
    scene: Scene,
) -> None:
    await scene.tell(5)
    scene.listener.lost = [VersionError("they do not understand each other") for _ in range(100)]
    for _ in range(100):
        scene.port.tells(1, incarnation="second")
    await asyncio.sleep(20)
    assert scene.listener.silences == ["they do not understand each other"]


async def test_silence_is_told_once_when_it_lasts_and_taken_back_with_the_next_report(scene: Scene) -> None:
    for _ in range(100):
        scene.port.is_silent()
    await asyncio.sleep(links.SILENCE_S - 1)
    assert scene.listener.silences == []
    await asyncio.sleep(10)
    assert scene.listener.silences == ["no answer"]
    assert scene.listener.searches > 1
    while not scene.port.answers.empty():
        scene.port.answers.get_nowait()
    await scene.tell(1)
    assert scene.listener.silences == ["no answer", ""]
    for _ in range(100):
        scene.port.is_silent()
    await asyncio.sleep(20)
    assert scene.listener.silences == ["no answer", "", "no answer"]


@pytest.mark.parametrize("error", [UnavailableError("not yet"), RuntimeError("a fault of ours")])
async def test_an_actor_that_cannot_be_found_is_looked_for_again(scene: Scene, error: Exception) -> None:
    scene.listener.lost = [error] * 4
    scene.port.tells(1, incarnation="second")
    scene.port.tells(1, incarnation="second")
    for _ in range(20):
        scene.port.is_silent()
    await asyncio.sleep(30)
    await scene.tell(3)
    assert scene.listener.searches > 2
    assert scene.listener.taken == [3]


async def test_a_supervisor_that_was_replaced_follows_nobody_any_more(scene: Scene) -> None:
    scene.listener.refusals = [FencedError("another supervisor has the state")]
    await scene.tell(1)
    scene.port.tells(2)
    await asyncio.sleep(60)
    assert len(scene.port.asked) == 1
    assert scene.listener.taken == []


async def test_an_instance_that_is_left_cannot_be_reached_and_one_that_is_followed_anew_is_followed_once(
    scene: Scene,
) -> None:
    await scene.tell(1)
    scene.follow()
    await scene.tell(2)
    assert scene.listener.taken == [1, 2]
    await scene.links.leave(FIRST)
    await scene.tell(3)
    assert scene.listener.taken == [1, 2]
    assert not scene.links.has(FIRST)
    with pytest.raises(UnavailableError, match="restart it"):
        scene.links.port(FIRST)
