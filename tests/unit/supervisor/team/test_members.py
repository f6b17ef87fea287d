from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from actors.errors import FencedError, StoreError, UnavailableError, VersionError
from supervisor.team import links
from supervisor.team.links import InstanceLinks
from tests.fakes.instances import FakeInstance, FakeListener

ID = "spec_0_0_1"


@dataclass
class Scene:
    members: InstanceLinks
    port: FakeInstance
    listener: FakeListener

    async def follow(self) -> None:
        self.members.follow(ID, self.port, "first", self.listener)

    async def seconds(self, count: float) -> None:
        await asyncio.sleep(count)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    port = FakeInstance()
    made = Scene(InstanceLinks(), port, FakeListener(found=port))
    await made.follow()
    yield made
    await made.members.leave_all()


async def test_asking_for_what_comes_next_acknowledges_only_what_was_taken_in(scene: Scene) -> None:
    scene.listener.refusals = [StoreError("no space left"), RuntimeError("a fault of ours")]
    for _ in range(3):
        scene.port.tells(5)
    await scene.seconds(2)
    scene.port.tells(6)
    await scene.seconds(1)
    assert scene.listener.taken == [5, 6]
    assert [after for after, _ in scene.port.asked] == [0, 0, 0, 5, 6]


async def test_a_new_incarnation_takes_the_agent_over_and_is_followed_from_its_beginning(scene: Scene) -> None:
    scene.port.tells(5)
    await scene.seconds(1)
    later = scene.listener.found = FakeInstance()
    later.incarnation = "second"
    scene.port.tells(1, incarnation="second")
    await scene.seconds(1)
    later.tells(2, incarnation="second")
    await scene.seconds(1)
    assert scene.listener.searches == 1
    assert later.asked[0] == (0, "second")
    assert scene.listener.taken == [5, 2]
    assert scene.members.port(ID) is later


async def test_an_actor_that_came_back_in_a_version_that_does_not_understand_us_is_told_of_in_words(
    scene: Scene,
) -> None:
    scene.port.tells(5)
    await scene.seconds(1)
    scene.listener.lost = [VersionError("they do not understand each other") for _ in range(100)]
    for _ in range(100):
        scene.port.tells(1, incarnation="second")
    await scene.seconds(20)
    assert scene.listener.silences == ["they do not understand each other"]


async def test_silence_is_told_once_when_it_lasts_and_taken_back_with_the_next_report(scene: Scene) -> None:
    for _ in range(100):
        scene.port.is_silent()
    await scene.seconds(links.SILENCE_S - 1)
    assert scene.listener.silences == []
    await scene.seconds(10)
    assert scene.listener.silences == ["no answer"]
    assert scene.listener.searches > 1
    while not scene.port.answers.empty():
        scene.port.answers.get_nowait()
    scene.port.tells(1)
    await scene.seconds(1)
    assert scene.listener.silences == ["no answer", ""]
    for _ in range(100):
        scene.port.is_silent()
    await scene.seconds(20)
    assert scene.listener.silences == ["no answer", "", "no answer"]


@pytest.mark.parametrize("error", [UnavailableError("not yet"), RuntimeError("a fault of ours")])
async def test_who_cannot_be_found_is_looked_for_again(scene: Scene, error: Exception) -> None:
    scene.listener.lost = [error] * 4
    scene.port.tells(1, incarnation="second")
    scene.port.tells(1, incarnation="second")
    for _ in range(20):
        scene.port.is_silent()
    await scene.seconds(30)
    scene.port.tells(3)
    await scene.seconds(1)
    assert scene.listener.searches > 2
    assert scene.listener.taken == [3]


async def test_a_supervisor_that_was_replaced_follows_nobody_any_more(scene: Scene) -> None:
    scene.listener.refusals = [FencedError("another supervisor has the state")]
    scene.port.tells(1)
    await scene.seconds(1)
    scene.port.tells(2)
    await scene.seconds(60)
    assert len(scene.port.asked) == 1
    assert scene.listener.taken == []


async def test_who_is_left_cannot_be_reached_and_who_is_followed_anew_is_followed_once(scene: Scene) -> None:
    scene.port.tells(1)
    await scene.seconds(1)
    await scene.follow()
    scene.port.tells(2)
    await scene.seconds(1)
    assert scene.listener.taken == [1, 2]
    await scene.members.leave(ID)
    scene.port.tells(3)
    await scene.seconds(1)
    assert scene.listener.taken == [1, 2]
    assert not scene.members.has(ID)
    with pytest.raises(UnavailableError, match="restart it"):
        scene.members.port(ID)
