"""Spare actors: which are taken, kept and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.concurrency import ChangeNotifier
from supervisor.pool.actors import PREFIX, ActorMaker, ActorPool, spare_actor
from supervisor.pool.pool import Pool
from supervisor.spawning.admission import FairSemaphore
from tests.fakes.clock import turns
from tests.fakes.instances import FakeInstances

WORKER = "10.0.0.2"


class Scene:
    def __init__(self) -> None:
        self.factory = FakeInstances()
        self.rooms = {"": 2}
        self.pool: ActorPool = Pool(
            ActorMaker(self.factory), lambda: self.rooms, FairSemaphore(5), ChangeNotifier(), self.confirm, at_once=1
        )

    async def confirm(self) -> None:
        """No other supervisor has the team."""

    async def begin(self, *found: str) -> None:
        self.factory.names.update(found)
        self.pool.recognise(map(spare_actor, found))
        await turns(60)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    keeping = asyncio.create_task(made.pool.keep())
    yield made
    keeping.cancel()
    await made.pool.end()


async def test_the_pool_is_filled_and_refilled_after_a_take(scene: Scene) -> None:
    await scene.begin()
    assert len(scene.pool.ready()) == len(scene.factory.names) == 2
    taken = scene.pool.take("")
    assert taken is not None
    await turns(60)
    assert taken.name not in scene.pool.names
    assert len(scene.pool.ready()) == 2
    assert len(scene.factory.names) == 3


async def test_spares_that_are_found_are_kept_and_those_that_are_too_many_are_ended(scene: Scene) -> None:
    found = [f"{PREFIX}{number}" for number in range(4)]
    await scene.begin(*found)
    assert scene.pool.names == scene.factory.names < set(found)
    assert len(scene.pool.ready()) == 2


async def test_one_that_follows_an_agent_of_nobody_is_ended(scene: Scene) -> None:
    scene.factory.occupied.add(f"{PREFIX}1")
    await scene.begin(f"{PREFIX}1")
    assert f"{PREFIX}1" not in scene.pool.names | scene.factory.names


async def test_each_host_has_spares_of_its_own_and_who_takes_one_gets_it_from_there(scene: Scene) -> None:
    scene.rooms = {"": 2, WORKER: 1}
    await scene.begin(f"{PREFIX}ab@{WORKER}")
    assert scene.factory.by_address() == {"": 2, WORKER: 1}
    assert scene.pool.wanted == 3
    taken = [scene.pool.take(WORKER) for _ in range(2)]
    assert [each and each.name for each in taken] == [f"{PREFIX}ab@{WORKER}", None]
    await turns(60)
    assert scene.factory.by_address() == {"": 2, WORKER: 2}


async def test_spares_give_way_where_instances_need_their_slots_and_go_with_a_host_that_is_gone(scene: Scene) -> None:
    scene.rooms = {"": 2, WORKER: 2}
    await scene.begin()
    scene.rooms = {"": -1, WORKER: 1}
    scene.pool.wake()
    await turns(60)
    assert scene.factory.by_address() == {WORKER: 1}
    scene.rooms = {}
    scene.pool.wake()
    await turns(60)
    assert scene.factory.by_address() == {}


async def test_a_host_that_makes_none_keeps_no_other_from_its_spares(scene: Scene) -> None:
    scene.rooms, scene.factory.silent = {"": 2, WORKER: 2}, WORKER
    await scene.begin()
    assert scene.factory.by_address() == {"": 2}
    scene.pool.take("")
    await turns(60)
    assert len(scene.pool.ready("")) == 2
