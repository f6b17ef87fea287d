"""Those whose host is lost, while there is no room for them on another one."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.cluster import migration as mover_module
from supervisor.cluster.scheduler import FENCE_S
from supervisor.team.registry import InstanceStage
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.cluster.losing import SECOND, World, played


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_module, "time", virtual_time.clock())


def test_it_goes_on_only_on_a_host_with_the_labels_of_its_spawn_and_waits_in_words_while_there_is_none() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(1, labels={"disk": "fast"})
        other = await world.recruit(2)
        world.fits = lambda wanted: not wanted.labels
        await asyncio.sleep(5)
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        assert (member.record.host, other.record.host) == ("worker", "head")
        assert "cannot go on elsewhere yet: none is disk=fast" in member.silence
        world.fits = lambda _: True
        await asyncio.sleep(60)
        assert (member.record.host, member.record.stage) == ("head", InstanceStage.RUNNING)

    played(test)


def test_who_waits_for_room_holds_up_no_other_and_stays_where_it_is_when_its_host_is_back_first() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(1, labels={"disk": "fast"})
        other = await world.recruit(2)
        await asyncio.sleep(5)
        world.room.clear()
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 60)
        assert other.record.host == "head"
        assert "it waits until there is room on another host that is disk=fast" in member.silence
        world.there.append("worker")
        world.room.set()
        await asyncio.sleep(60)
        assert (member.record.host, member.record.stage) == ("worker", InstanceStage.RUNNING)

    played(test)


def test_who_is_terminated_or_has_its_host_back_waits_for_room_no_longer() -> None:
    async def test(world: World) -> None:
        await world.recruit(1, labels={"disk": "fast"})
        ended = await world.recruit(2, labels={"disk": "fast"})
        await asyncio.sleep(5)
        world.room.clear()
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        await world.team.save(SECOND, wanted=False)
        await asyncio.sleep(5)
        assert world.given_up == 1
        world.there.append("worker")
        await asyncio.sleep(5)
        assert world.given_up == 2
        assert ended.record.host == "worker"

    played(test)


def test_what_was_waited_for_at_a_loss_that_passed_is_not_told_at_the_next_one() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(1, labels={"disk": "fast"})
        await asyncio.sleep(5)
        world.room.clear()
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        world.there.append("worker")
        world.room.set()
        await asyncio.sleep(60)
        member.silence = ""
        world.there.remove("worker")
        await asyncio.sleep(10)
        assert "if it is not back soon" in member.silence

    played(test)
