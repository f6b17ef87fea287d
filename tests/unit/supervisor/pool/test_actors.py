"""Spare actors: which are taken, kept and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.concurrency import ChangeNotifier
from actors.errors import UnavailableError
from actors.instance.instance import Instance
from supervisor.pool.makers import PREFIX, ActorMaker, ActorPool, spare_actor
from supervisor.pool.pool import Pool
from supervisor.spawning.admission import FairSemaphore
from tests.unit.supervisor.stand_ins import StandInInstance, turns

WORKER = "10.0.0.2"


class Factory:
    """Makes actors by name; the names in ``occupied`` follow somebody, and nothing is made on ``silent``."""

    def __init__(self) -> None:
        self.actors: set[str] = set()
        self.occupied: set[str] = set()
        self.silent = "nowhere"

    async def create(self, name: str) -> Instance:
        if name.endswith(self.silent):
            raise UnavailableError("that host does not answer")
        self.actors.add(name)
        return _Actor(name not in self.occupied)

    async def running(self) -> tuple[str, ...]:
        return tuple(self.actors)

    async def destroy(self, name: str) -> None:
        self.actors.discard(name)

    def by_host(self) -> dict[str, int]:
        made = [name.partition("@")[2] for name in self.actors]
        return {address: made.count(address) for address in sorted(set(made))}


class _Actor(StandInInstance):
    def __init__(self, vacant: bool) -> None:
        super().__init__()
        self._vacant = vacant

    async def vacant(self) -> bool:
        return self._vacant


class Scene:
    def __init__(self) -> None:
        self.factory = Factory()
        self.rooms = {"": 2}
        self.pool: ActorPool = Pool(
            ActorMaker(self.factory), lambda: self.rooms, FairSemaphore(5), ChangeNotifier(), self.confirm, at_once=1
        )

    async def confirm(self) -> None:
        """No other supervisor has the team."""

    async def begin(self, *found: str) -> None:
        self.factory.actors.update(found)
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
    assert len(scene.pool.ready()) == len(scene.factory.actors) == 2
    taken = scene.pool.take("")
    assert taken is not None
    await turns(60)
    assert taken.name not in scene.pool.names
    assert len(scene.pool.ready()) == 2
    assert len(scene.factory.actors) == 3


async def test_spares_that_are_found_are_kept_and_those_that_are_too_many_are_ended(scene: Scene) -> None:
    found = [f"{PREFIX}{number}" for number in range(4)]
    await scene.begin(*found)
    assert scene.pool.names == scene.factory.actors < set(found)
    assert len(scene.pool.ready()) == 2


async def test_one_that_follows_an_agent_of_nobody_is_ended(scene: Scene) -> None:
    scene.factory.occupied.add(f"{PREFIX}1")
    await scene.begin(f"{PREFIX}1")
    assert f"{PREFIX}1" not in scene.pool.names | scene.factory.actors


async def test_each_host_has_spares_of_its_own_and_who_takes_one_gets_it_from_there(scene: Scene) -> None:
    scene.rooms = {"": 2, WORKER: 1}
    await scene.begin(f"{PREFIX}ab@{WORKER}")
    assert scene.factory.by_host() == {"": 2, WORKER: 1}
    assert scene.pool.wanted().total() == 3
    taken = [scene.pool.take(WORKER) for _ in range(2)]
    assert [each and each.name for each in taken] == [f"{PREFIX}ab@{WORKER}", None]
    await turns(60)
    assert scene.factory.by_host() == {"": 2, WORKER: 2}


async def test_spares_give_way_where_instances_need_their_slots_and_go_with_a_host_that_is_gone(scene: Scene) -> None:
    scene.rooms = {"": 2, WORKER: 2}
    await scene.begin()
    scene.rooms = {"": -1, WORKER: 1}
    scene.pool.wake()
    await turns(60)
    assert scene.factory.by_host() == {WORKER: 1}
    scene.rooms = {}
    scene.pool.wake()
    await turns(60)
    assert scene.factory.by_host() == {}


async def test_a_host_that_makes_none_keeps_no_other_from_its_spares(scene: Scene) -> None:
    scene.rooms, scene.factory.silent = {"": 2, WORKER: 2}, WORKER
    await scene.begin()
    assert scene.factory.by_host() == {"": 2}
    scene.pool.take("")
    await turns(60)
    assert len(scene.pool.ready("")) == 2
