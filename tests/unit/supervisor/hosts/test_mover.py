from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import FencedError, InvalidRequestError, UnavailableError
from actors.messages import Message
from actors.nodes import Node
from actors.states import Status
from actors.workspace.values import Workspace
from supervisor.hosts import mover as mover_module
from supervisor.hosts.absences import FENCE_S
from supervisor.hosts.mover import Mover
from supervisor.hosts.placing import Wanted
from supervisor.hosts.relocation import MoveParts
from supervisor.hosts.roster import Placement
from supervisor.team.registry import Member, Stage
from supervisor.team.roll import Roll
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import READY, TroubledStore, draft, receipt, recruit

FIRST, SECOND = "spec_0_0_1", "spec_0_0_2"


class World:
    """Roster, hosts, factory and closing in one; ``deeds`` tells in which order what was done."""

    def __init__(self) -> None:
        self.store = TroubledStore()
        self.roll = Roll(self.store)
        self.deeds: list[str] = []
        self.there = ["head", "worker"]
        self.places: dict[str, str] = {}
        self.away: set[str] = set()
        self.trouble: Callable[[str], bool] = lambda _: False
        self.gcs_away = False
        self.fits: Callable[[Wanted], bool] = lambda _: True
        self.room = asyncio.Event()
        self.room.set()
        """Of hosts with labels."""
        self.at_home: set[str] = set()
        """Ids of messages that the copies of conversations show."""
        this: Any = self
        self.mover = Mover(
            MoveParts(roll=self.roll, roster=this, hosts=this, factory=this, adoption=this, closing=this)
        )

    async def do(self, deed: str) -> None:
        await asyncio.sleep(0.1)
        if self.trouble(deed):
            raise UnavailableError(f"not now: {deed}")
        self.deeds.append(deed)

    async def nodes(self) -> tuple[Node, ...]:
        if self.gcs_away:
            raise UnavailableError("Ray does not answer")
        return tuple(Node(name=name, address=name, slots=4) for name in self.there)

    @asynccontextmanager
    async def placed(self, wanted: Wanted) -> AsyncIterator[Placement]:
        if not self.fits(wanted):
            raise InvalidRequestError(f"none is {wanted.words}")
        if wanted.labels:
            await self.room.wait()
        yield Placement(host="head", address="10.0.0.1", own=True)

    async def settle_again(self, instance_id: str, given: Workspace, path: str) -> Workspace:
        await self.do(f"settle {instance_id} on {self.places[instance_id]}")
        return given

    async def shown_at_home(self, instance_id: str, path: str, ids: Collection[str]) -> set[str]:
        return self.at_home & set(ids)

    async def destroy(self, name: str) -> None:
        await self.do(f"destroy {name}")

    async def resume(self, member: Member) -> None:
        if member.record.resumable:
            await self.do(f"start {member.record.instance_id}")
            await self.roll.save(member.record.instance_id, stage=Stage.RUNNING)
            member.snapshot = READY

    async def recruit(self, number: int = 1, **changes: Any) -> Member:
        name = f"spec_0_0_{number}"
        workspace = Workspace(mode="isolated", directory=Path("/w") / name, home=Path("/repository/.git"))
        given = {"host": "worker", "actor": f"{name}@10.0.0.2", "workspace": workspace, **changes}
        member = await recruit(self.roll, number, **given)
        self.places[name] = member.record.host
        return member


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_module, "time", virtual_time.clock())


def played(test: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        world = World()
        world.mover.begin()
        try:
            await test(world)
        finally:
            await world.mover.end()

    virtual_time.run(play)


def test_nobody_is_started_elsewhere_before_the_lease_on_the_lost_host_has_run_out() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        await asyncio.sleep(10)
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S - 3)
        assert world.deeds == []
        assert "its host worker is lost" in member.silence.lower()
        assert world.away == {"worker"}
        await asyncio.sleep(10)
        assert world.deeds == [f"destroy {FIRST}@10.0.0.2", f"settle {FIRST} on head", f"start {FIRST}"]
        assert (member.record.host, member.record.actor, member.record.stage) == ("head", "", Stage.RUNNING)
        await asyncio.sleep(200)
        assert len(world.deeds) == 3

    played(test)


def test_a_host_that_is_back_in_time_keeps_its_instances_and_its_next_loss_counts_anew() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        for _ in range(3):
            world.there.remove("worker")
            await asyncio.sleep(FENCE_S - 5)
            world.there.append("worker")
            await asyncio.sleep(5)
        assert world.deeds == []

    played(test)


def test_one_that_cannot_be_moved_is_tried_again_and_keeps_no_other_from_being_moved() -> None:
    async def test(world: World) -> None:
        first, second = await world.recruit(1), await world.recruit(2)
        await asyncio.sleep(5)
        world.trouble = lambda deed: deed.startswith(f"settle {FIRST}")
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        assert (first.record.host, second.record.host) == ("worker", "head")
        assert (world.places[FIRST], first.record.stage) == ("worker", Stage.FAILED)
        world.trouble = lambda _: False
        await asyncio.sleep(60)
        assert first.record.host == "head"
        assert first.snapshot.status is Status.READY

    played(test)


def test_who_was_terminated_has_failed_by_itself_or_is_just_being_ended_is_not_started_again() -> None:
    async def test(world: World) -> None:
        await world.recruit(1, wanted=False)
        failed = await world.recruit(2, stage=Stage.FAILED, reason="it crashed")
        failed.snapshot = replace(READY, status=Status.FAILED)
        ending = await world.recruit(3)
        await asyncio.sleep(5)
        world.there.remove("worker")
        async with ending.turn:
            await asyncio.sleep(FENCE_S + 30)
            assert world.deeds == []

    played(test)


def test_one_that_was_being_handed_over_when_its_host_died_goes_on_by_what_came_home() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(5)
        member = await world.recruit(stage=Stage.FAILED, moving_from="worker")
        member.snapshot = replace(READY, status=Status.FAILED)
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        assert (member.record.host, member.record.moving_from, member.record.stage) == ("head", "", Stage.RUNNING)

    played(test)


def test_while_ray_does_not_answer_no_host_is_taken_for_lost() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        world.gcs_away = True
        await asyncio.sleep(FENCE_S * 3)
        world.gcs_away = False
        await asyncio.sleep(10)
        assert world.deeds == []

    played(test)


def test_a_supervisor_that_was_replaced_moves_nobody() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        await asyncio.sleep(5)
        world.store.error = FencedError("another supervisor has the state")
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S * 2)
        assert world.deeds == []

    played(test)


def test_the_place_of_an_instance_that_is_forgotten_is_forgotten_too() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        world.places["spec_0_0_9"] = "worker"
        await asyncio.sleep(5)
        assert world.places == {FIRST: "worker"}

    played(test)


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
        assert (member.record.host, member.record.stage) == ("head", Stage.RUNNING)

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
        assert (member.record.host, member.record.stage) == ("worker", Stage.RUNNING)

    played(test)


async def say(world: World, *texts: str) -> list[str]:
    """Ids of messages that have arrived at the first instance."""
    mail = world.roll.mail
    sent = [each for each in mail.check([draft(text) for text in texts], "lead", 1.0) if isinstance(each, Message)]
    await mail.accept(sent)
    await mail.take_receipts([receipt(message) for message in sent])
    return [message.id for message in sent]


def test_a_message_that_arrived_after_the_conversation_came_home_last_is_delivered_again() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        await asyncio.sleep(5)
        home, lost = await say(world, "one", "two")
        world.at_home = {home}
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S - 5)
        assert world.roll.mail.pending(FIRST) == 0
        await asyncio.sleep(10)
        statuses = {one: str(found.status) for one in (home, lost) if (found := world.roll.mail.receipt(one))}
        assert statuses == {home: "submitted", lost: "accepted"}
        assert world.roll.mail.pending(FIRST) == 1

    played(test)


def test_a_supervisor_that_dies_between_place_and_start_leaves_word_that_the_instance_is_on_its_way() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        await asyncio.sleep(5)
        world.trouble = lambda deed: deed.startswith("start")
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        assert (member.record.host, member.record.moving_from, member.record.resumable) == ("head", "worker", True)

    played(test)
