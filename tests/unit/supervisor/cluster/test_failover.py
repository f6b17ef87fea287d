from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.errors import FencedError, UnavailableError
from actors.messages import Message
from actors.status import Status
from supervisor.cluster.scheduler import FENCE_S
from supervisor.team.registry import InstanceStage
from tests.fakes.instances import READY
from tests.fakes.migration import FailoverScene
from tests.fakes.team import FIRST, SECOND, outgoing, receipt


@pytest.fixture
async def scene() -> AsyncIterator[FailoverScene]:
    made = FailoverScene()
    made.failover.begin()
    yield made
    await made.failover.end()
    await made.team.members.leave_all()


async def test_nobody_is_started_elsewhere_before_the_lease_on_the_lost_host_has_run_out(scene: FailoverScene) -> None:
    member = await scene.add_member()
    await asyncio.sleep(10)
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S - 3)
    assert scene.log.calls == []
    assert "its host worker is lost" in member.silence.lower()
    assert scene.away == {"worker"}
    await asyncio.sleep(10)
    assert scene.log.calls == [f"destroy {FIRST}@10.0.0.9", f"prepare {FIRST} on head", f"start {FIRST} on head"]
    assert (member.record.host, member.record.actor, member.record.stage) == ("head", "", InstanceStage.RUNNING)
    await asyncio.sleep(200)
    assert len(scene.log.calls) == 3


async def test_a_host_that_is_back_in_time_keeps_its_instances_and_its_next_loss_counts_anew(
    scene: FailoverScene,
) -> None:
    await scene.add_member()
    for _ in range(3):
        scene.hosts.remove("worker")
        await asyncio.sleep(FENCE_S - 5)
        scene.hosts.append("worker")
        await asyncio.sleep(5)
    assert scene.log.calls == []


async def test_one_that_cannot_be_moved_is_tried_again_and_keeps_no_other_from_being_moved(
    scene: FailoverScene,
) -> None:
    first, second = await scene.add_member(1), await scene.add_member(2)
    await asyncio.sleep(5)
    scene.log.errors[f"prepare {FIRST} on head"] = UnavailableError("not now")
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 10)
    assert (first.record.host, second.record.host) == ("worker", "head")
    assert (scene.places[FIRST], first.record.stage) == ("worker", InstanceStage.FAILED)
    scene.log.errors.clear()
    await asyncio.sleep(60)
    assert first.record.host == "head"
    assert first.snapshot.status is Status.READY


async def test_who_was_terminated_has_failed_by_itself_or_is_just_being_ended_is_not_started_again(
    scene: FailoverScene,
) -> None:
    await scene.add_member(1, wanted=False)
    failed = await scene.add_member(2, stage=InstanceStage.FAILED, reason="it crashed")
    failed.snapshot = replace(READY, status=Status.FAILED)
    ending = await scene.add_member(3)
    await asyncio.sleep(5)
    scene.hosts.remove("worker")
    async with ending.turn:
        await asyncio.sleep(FENCE_S + 30)
        assert scene.log.calls == []


async def test_one_that_was_being_handed_over_when_its_host_died_goes_on_by_what_came_home(
    scene: FailoverScene,
) -> None:
    await asyncio.sleep(5)
    member = await scene.add_member(stage=InstanceStage.FAILED, moving_from="worker")
    member.snapshot = replace(READY, status=Status.FAILED)
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 10)
    assert (member.record.host, member.record.moving_from, member.record.stage) == (
        "head",
        "",
        InstanceStage.RUNNING,
    )


async def test_while_ray_does_not_answer_no_host_is_taken_for_lost(scene: FailoverScene) -> None:
    await scene.add_member()
    scene.ray_is_away = True
    await asyncio.sleep(FENCE_S * 3)
    scene.ray_is_away = False
    await asyncio.sleep(10)
    assert scene.log.calls == []


async def test_a_supervisor_that_was_replaced_moves_nobody(scene: FailoverScene) -> None:
    await scene.add_member()
    await asyncio.sleep(5)
    scene.store.error = FencedError("another supervisor has the state")
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S * 2)
    assert scene.log.calls == []


async def test_the_place_of_an_instance_that_is_forgotten_is_forgotten_too(scene: FailoverScene) -> None:
    await scene.add_member()
    scene.places["spec_0_0_9"] = "worker"
    await asyncio.sleep(5)
    assert scene.places == {FIRST: "worker"}


async def say(scene: FailoverScene, *texts: str) -> list[str]:
    """Ids of messages that have arrived at the first instance."""
    outbox = scene.team.outbox
    sent = [each for each in outbox.check([outgoing(text) for text in texts], "lead", 1.0) if isinstance(each, Message)]
    await outbox.accept(sent)
    await outbox.take_receipts([receipt(message) for message in sent])
    return [message.id for message in sent]


async def test_a_message_that_arrived_after_the_conversation_came_home_last_is_delivered_again(
    scene: FailoverScene,
) -> None:
    await scene.add_member()
    await asyncio.sleep(5)
    home, lost = await say(scene, "one", "two")
    scene.in_copies = {home}
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S - 5)
    assert scene.team.outbox.pending(FIRST) == 0
    await asyncio.sleep(10)
    statuses = {one: str(found.status) for one in (home, lost) if (found := scene.team.outbox.receipt(one))}
    assert statuses == {home: "submitted", lost: "accepted"}
    assert scene.team.outbox.pending(FIRST) == 1


async def test_a_supervisor_that_dies_between_place_and_start_leaves_word_that_the_instance_is_on_its_way(
    scene: FailoverScene,
) -> None:
    member = await scene.add_member()
    await asyncio.sleep(5)
    scene.log.errors["start"] = UnavailableError("not now")
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 10)
    assert (member.record.host, member.record.moving_from, member.record.resumable) == ("head", "worker", True)


async def test_it_goes_on_only_on_a_host_with_the_labels_of_its_spawn_and_waits_in_words_while_there_is_none(
    scene: FailoverScene,
) -> None:
    member = await scene.add_member(1, labels={"disk": "fast"})
    other = await scene.add_member(2)
    scene.refusal = lambda wanted: "none is disk=fast" if wanted.labels else ""
    await asyncio.sleep(5)
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 10)
    assert (member.record.host, other.record.host) == ("worker", "head")
    assert "cannot go on elsewhere yet: none is disk=fast" in member.silence
    scene.refusal = lambda _: ""
    await asyncio.sleep(60)
    assert (member.record.host, member.record.stage) == ("head", InstanceStage.RUNNING)


async def test_who_waits_for_room_holds_up_no_other_and_stays_where_it_is_when_its_host_is_back_first(
    scene: FailoverScene,
) -> None:
    member = await scene.add_member(1, labels={"disk": "fast"})
    other = await scene.add_member(2)
    await asyncio.sleep(5)
    scene.full = lambda wanted: bool(wanted.labels)
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 60)
    assert other.record.host == "head"
    assert "it waits until there is room on another host that is disk=fast" in member.silence
    scene.hosts.append("worker")
    scene.full = lambda _: False
    await asyncio.sleep(60)
    assert (member.record.host, member.record.stage) == ("worker", InstanceStage.RUNNING)


async def test_who_is_terminated_or_has_its_host_back_waits_for_room_no_longer(scene: FailoverScene) -> None:
    await scene.add_member(1, labels={"disk": "fast"})
    ended = await scene.add_member(2, labels={"disk": "fast"})
    await asyncio.sleep(5)
    scene.full = lambda wanted: bool(wanted.labels)
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 10)
    await scene.team.save(SECOND, wanted=False)
    await asyncio.sleep(5)
    assert scene.cancelled_waits == 1
    scene.hosts.append("worker")
    await asyncio.sleep(5)
    assert scene.cancelled_waits == 2
    assert ended.record.host == "worker"


async def test_what_was_waited_for_at_a_loss_that_passed_is_not_told_at_the_next_one(scene: FailoverScene) -> None:
    member = await scene.add_member(1, labels={"disk": "fast"})
    await asyncio.sleep(5)
    scene.full = lambda wanted: bool(wanted.labels)
    scene.hosts.remove("worker")
    await asyncio.sleep(FENCE_S + 10)
    scene.hosts.append("worker")
    scene.full = lambda _: False
    await asyncio.sleep(60)
    member.silence = ""
    scene.hosts.remove("worker")
    await asyncio.sleep(10)
    assert "if it is not back soon" in member.silence
