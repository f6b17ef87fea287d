from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.backoff import Backoff
from actors.errors import FencedError, UnavailableError
from supervisor.pool import actors as stock_module
from supervisor.pool.actors import PREFIX, ActorPool
from supervisor.ports import InstancePort
from supervisor.spawning.admission import FairSemaphore
from tests.unit.supervisor.stand_ins import StandInInstance, turns


class Factory:
    """Makes actors by name. ``gate`` holds up whoever makes one; the names in ``occupied`` follow somebody."""

    def __init__(self) -> None:
        self.actors: set[str] = set()
        self.occupied: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0
        self.error: Exception | None = None

    async def create(self, name: str) -> InstancePort:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        self.actors.add(name)
        return _Actor(name not in self.occupied)

    async def running(self) -> tuple[str, ...]:
        return tuple(self.actors)

    async def destroy(self, name: str) -> None:
        self.actors.discard(name)


class _Actor(StandInInstance):
    def __init__(self, vacant: bool) -> None:
        super().__init__()
        self._vacant = vacant

    async def vacant(self) -> bool:
        return self._vacant


class Scene:
    def __init__(self, size: int) -> None:
        self.factory = Factory()
        self.permits = FairSemaphore(5)
        self.actor_pool = ActorPool(self.factory, self.permits, size)
        self.fenced = False

    async def confirm(self) -> None:
        if self.fenced:
            raise FencedError("another supervisor has the state")

    async def begin(self, *found: str) -> None:
        self.factory.actors.update(found)
        self.actor_pool.begin(self.confirm)
        self.actor_pool.recognise(found)
        await turns(60)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(2)
    yield made
    await made.actor_pool.end()


async def test_the_stock_is_filled_one_by_one_and_refilled_after_a_take(scene: Scene) -> None:
    await scene.begin()
    assert scene.actor_pool.ready == len(scene.factory.actors) == 2
    taken = scene.actor_pool.take()
    await turns(60)
    assert taken not in scene.actor_pool.names
    assert scene.actor_pool.ready == 2
    assert len(scene.factory.actors) == 3
    assert scene.factory.most_at_once == 1


async def test_no_spare_is_given_twice_and_who_finds_none_does_not_wait(scene: Scene) -> None:
    await scene.begin()
    taken = [scene.actor_pool.take() for _ in range(3)]
    assert len(set(taken)) == 3
    assert taken[2] == ""


async def test_nothing_is_made_before_it_is_known_what_an_earlier_supervisor_has_left(scene: Scene) -> None:
    scene.actor_pool.begin(scene.confirm)
    await turns()
    assert not scene.factory.actors
    scene.actor_pool.recognise(())
    await turns(60)
    assert scene.actor_pool.ready == 2


async def test_spares_that_are_found_are_kept_and_those_that_are_too_many_are_ended(scene: Scene) -> None:
    found = [f"{PREFIX}{number}" for number in range(4)]
    await scene.begin(*found)
    assert scene.actor_pool.names == scene.factory.actors
    assert scene.actor_pool.names < set(found)
    assert scene.actor_pool.ready == 2


async def test_who_follows_somebody_or_has_another_name_is_no_spare(scene: Scene) -> None:
    scene.factory.occupied.add(f"{PREFIX}1")
    await scene.begin(f"{PREFIX}1", "spec_0_0_1")
    assert not scene.actor_pool.names & {f"{PREFIX}1", "spec_0_0_1"}


async def test_a_refill_waits_until_no_spawn_waits_or_runs(scene: Scene) -> None:
    async with scene.permits.hold():
        await scene.begin()
        assert scene.actor_pool.ready == 0
    await turns(60)
    assert scene.actor_pool.ready == 2


async def test_what_is_just_being_made_counts_as_the_stocks_own(scene: Scene) -> None:
    scene.factory.gate.clear()
    await scene.begin()
    (name,) = scene.actor_pool.names
    assert scene.actor_pool.take() == ""
    scene.factory.gate.set()
    await turns(60)
    assert name in scene.factory.actors


async def test_a_smaller_stock_ends_what_is_too_much(scene: Scene) -> None:
    await scene.begin()
    scene.actor_pool.resize(0)
    await turns(60)
    assert not scene.factory.actors
    assert not scene.actor_pool.names


@pytest.mark.parametrize("error", [UnavailableError("Ray does not answer"), ValueError("a word of Ray's own")])
async def test_a_spare_that_cannot_be_made_is_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(stock_module, "_AGAIN", Backoff(0.0, 0.0))
    scene.factory.error = error
    await scene.begin()
    assert scene.actor_pool.ready == 0
    scene.factory.error = None
    await turns(60)
    assert scene.actor_pool.ready == 2


async def test_who_was_replaced_by_another_supervisor_makes_no_more(scene: Scene) -> None:
    scene.fenced = True
    await scene.begin()
    assert not scene.factory.actors


WORKER = "10.0.0.2"


def by_host(scene: Scene) -> dict[str, int]:
    made = [name.partition("@")[2] for name in scene.factory.actors]
    return {address: made.count(address) for address in sorted(set(made))}


async def test_each_host_has_spares_of_its_own_and_who_takes_one_gets_it_from_there(scene: Scene) -> None:
    scene.actor_pool.rooms = lambda: {"": 5, WORKER: 1}
    await scene.begin()
    assert by_host(scene) == {"": 2, WORKER: 1}
    assert scene.actor_pool.size == 3
    assert scene.actor_pool.take(WORKER).endswith(f"@{WORKER}")
    assert scene.actor_pool.take(WORKER) == ""
    assert "@" not in scene.actor_pool.take()
    await turns(60)
    assert by_host(scene) == {"": 3, WORKER: 2}


async def test_spares_give_way_where_instances_need_their_slots_and_go_with_a_host_that_is_gone(scene: Scene) -> None:
    rooms = {"": 2, WORKER: 2}
    scene.actor_pool.rooms = lambda: rooms
    await scene.begin()
    rooms.update({"": -1, WORKER: 1})
    scene.actor_pool.look_again()
    await turns(60)
    assert by_host(scene) == {WORKER: 1}
    del rooms[WORKER]
    scene.actor_pool.look_again()
    await turns(60)
    assert by_host(scene) == {}


async def test_a_host_that_makes_none_keeps_no_other_from_its_spares(scene: Scene) -> None:
    scene.actor_pool.rooms = lambda: {"": 2, WORKER: 2}
    make = scene.factory.create

    async def create(name: str) -> InstancePort:
        if name.endswith(WORKER):
            raise UnavailableError("that host does not answer")
        return await make(name)

    scene.factory.create = create  # type: ignore[method-assign]
    await scene.begin()
    assert by_host(scene) == {"": 2}
    scene.actor_pool.take()
    await turns(60)
    assert scene.actor_pool.ready == 2


async def test_spares_that_an_earlier_supervisor_has_left_on_other_hosts_are_recognised(scene: Scene) -> None:
    scene.actor_pool.rooms = lambda: {"": 0, WORKER: 1}
    await scene.begin(f"{PREFIX}ab@{WORKER}")
    assert scene.actor_pool.take(WORKER) == f"{PREFIX}ab@{WORKER}"


async def test_who_follows_somebody_is_looked_at_once_and_then_left_to_the_reconciler(scene: Scene) -> None:
    stray = f"{PREFIX}1"
    scene.factory.occupied.add(stray)
    await scene.begin(stray)
    assert stray not in scene.actor_pool.names
    scene.actor_pool.recognise({stray})
    assert stray not in scene.actor_pool.names
