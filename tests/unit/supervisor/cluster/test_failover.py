from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from actors.errors import FencedError
from actors.messages import Message
from actors.status import Status
from supervisor.cluster import migration as mover_module
from supervisor.cluster.scheduler import FENCE_S
from supervisor.team.registry import InstanceStage
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.cluster.losing import FIRST, World, played
from tests.unit.supervisor.stand_ins import READY, outgoing, receipt


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_module, "time", virtual_time.clock())


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
        assert (member.record.host, member.record.actor, member.record.stage) == ("head", "", InstanceStage.RUNNING)
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
        assert (world.places[FIRST], first.record.stage) == ("worker", InstanceStage.FAILED)
        world.trouble = lambda _: False
        await asyncio.sleep(60)
        assert first.record.host == "head"
        assert first.snapshot.status is Status.READY

    played(test)


def test_who_was_terminated_has_failed_by_itself_or_is_just_being_ended_is_not_started_again() -> None:
    async def test(world: World) -> None:
        await world.recruit(1, wanted=False)
        failed = await world.recruit(2, stage=InstanceStage.FAILED, reason="it crashed")
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
        member = await world.recruit(stage=InstanceStage.FAILED, moving_from="worker")
        member.snapshot = replace(READY, status=Status.FAILED)
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S + 10)
        assert (member.record.host, member.record.moving_from, member.record.stage) == (
            "head",
            "",
            InstanceStage.RUNNING,
        )

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


async def say(world: World, *texts: str) -> list[str]:
    """Ids of messages that have arrived at the first instance."""
    outbox = world.team.outbox
    sent = [each for each in outbox.check([outgoing(text) for text in texts], "lead", 1.0) if isinstance(each, Message)]
    await outbox.accept(sent)
    await outbox.take_receipts([receipt(message) for message in sent])
    return [message.id for message in sent]


def test_a_message_that_arrived_after_the_conversation_came_home_last_is_delivered_again() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        await asyncio.sleep(5)
        home, lost = await say(world, "one", "two")
        world.at_home = {home}
        world.there.remove("worker")
        await asyncio.sleep(FENCE_S - 5)
        assert world.team.outbox.pending(FIRST) == 0
        await asyncio.sleep(10)
        statuses = {one: str(found.status) for one in (home, lost) if (found := world.team.outbox.receipt(one))}
        assert statuses == {home: "submitted", lost: "accepted"}
        assert world.team.outbox.pending(FIRST) == 1

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
