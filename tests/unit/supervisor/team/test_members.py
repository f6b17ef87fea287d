from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.errors import FencedError, StoreError, UnavailableError, VersionError
from actors.instance.instance import Instance
from actors.instance.reports import Report
from supervisor.team import links
from supervisor.team.links import InstanceLinks
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import StandInInstance

ID = "spec_0_0_1"


@dataclass
class Ear:
    """Notes what it is told; ``refusals`` are raised by the next reports or searches."""

    found: StandInInstance
    taken: list[int] = field(default_factory=list)
    silences: list[str] = field(default_factory=list)
    searches: int = 0
    refusals: list[Exception] = field(default_factory=list)
    lost: list[Exception] = field(default_factory=list)

    async def on_report(self, instance_id: str, report: Report) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.taken.append(report.sequence)

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        self.silences.append(reason)

    async def find_again(self, instance_id: str) -> tuple[Instance, str]:
        self.searches += 1
        if self.lost:
            raise self.lost.pop(0)
        return self.found, self.found.incarnation


@dataclass
class Scene:
    members: InstanceLinks
    port: StandInInstance
    ear: Ear

    async def follow(self) -> None:
        self.members.follow(ID, self.port, "first", self.ear)

    async def seconds(self, count: float) -> None:
        await asyncio.sleep(count)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Scene], Coroutine[Any, Any, None]]], None]:
    """Runs a scene in virtual time."""
    monkeypatch.setattr(links, "time", virtual_time.clock())

    def run(scene: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
        async def scene_with_its_end() -> None:
            port = StandInInstance()
            stage = Scene(InstanceLinks(), port, Ear(found=port))
            await stage.follow()
            await scene(stage)
            await stage.members.leave_all()

        virtual_time.run(scene_with_its_end)

    return run


Play = Callable[[Callable[[Scene], Coroutine[Any, Any, None]]], None]


def test_asking_for_what_comes_next_acknowledges_only_what_was_taken_in(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.ear.refusals = [StoreError("no space left"), RuntimeError("a fault of ours")]
        for _ in range(3):
            stage.port.tells(5)
        await stage.seconds(2)
        stage.port.tells(6)
        await stage.seconds(1)
        assert stage.ear.taken == [5, 6]
        assert [after for after, _ in stage.port.asked] == [0, 0, 0, 5, 6]

    play(scene)


def test_a_new_incarnation_takes_the_agent_over_and_is_followed_from_its_beginning(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.port.tells(5)
        await stage.seconds(1)
        later = stage.ear.found = StandInInstance()
        later.incarnation = "second"
        stage.port.tells(1, incarnation="second")
        await stage.seconds(1)
        later.tells(2, incarnation="second")
        await stage.seconds(1)
        assert stage.ear.searches == 1
        assert later.asked[0] == (0, "second")
        assert stage.ear.taken == [5, 2]
        assert stage.members.port(ID) is later

    play(scene)


def test_an_actor_that_came_back_in_a_version_that_does_not_understand_us_is_told_of_in_words(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.port.tells(5)
        await stage.seconds(1)
        stage.ear.lost = [VersionError("they do not understand each other") for _ in range(100)]
        for _ in range(100):
            stage.port.tells(1, incarnation="second")
        await stage.seconds(20)
        assert stage.ear.silences == ["they do not understand each other"]

    play(scene)


def test_silence_is_told_once_when_it_lasts_and_taken_back_with_the_next_report(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        for _ in range(100):
            stage.port.is_silent()
        await stage.seconds(links.SILENCE_S - 1)
        assert stage.ear.silences == []
        await stage.seconds(10)
        assert stage.ear.silences == ["no answer"]
        assert stage.ear.searches > 1
        while not stage.port.answers.empty():
            stage.port.answers.get_nowait()
        stage.port.tells(1)
        await stage.seconds(1)
        assert stage.ear.silences == ["no answer", ""]
        for _ in range(100):
            stage.port.is_silent()
        await stage.seconds(20)
        assert stage.ear.silences == ["no answer", "", "no answer"]

    play(scene)


@pytest.mark.parametrize("error", [UnavailableError("not yet"), RuntimeError("a fault of ours")])
def test_who_cannot_be_found_is_looked_for_again(play: Play, error: Exception) -> None:
    async def scene(stage: Scene) -> None:
        stage.ear.lost = [error] * 4
        stage.port.tells(1, incarnation="second")
        stage.port.tells(1, incarnation="second")
        for _ in range(20):
            stage.port.is_silent()
        await stage.seconds(30)
        stage.port.tells(3)
        await stage.seconds(1)
        assert stage.ear.searches > 2
        assert stage.ear.taken == [3]

    play(scene)


def test_a_supervisor_that_was_replaced_follows_nobody_any_more(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.ear.refusals = [FencedError("another supervisor has the state")]
        stage.port.tells(1)
        await stage.seconds(1)
        stage.port.tells(2)
        await stage.seconds(60)
        assert len(stage.port.asked) == 1
        assert stage.ear.taken == []

    play(scene)


def test_who_is_left_cannot_be_reached_and_who_is_followed_anew_is_followed_once(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.port.tells(1)
        await stage.seconds(1)
        await stage.follow()
        stage.port.tells(2)
        await stage.seconds(1)
        assert stage.ear.taken == [1, 2]
        await stage.members.leave(ID)
        stage.port.tells(3)
        await stage.seconds(1)
        assert stage.ear.taken == [1, 2]
        assert not stage.members.has(ID)
        with pytest.raises(UnavailableError, match="restart it"):
            stage.members.port(ID)

    play(scene)
