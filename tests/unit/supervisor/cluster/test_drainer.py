"""Draining a host: who is moved when, and what becomes of one whose move is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.errors import UnavailableError
from actors.instance.reports import InstanceSnapshot
from actors.messages import Message, MessageStatus
from actors.status import Status
from supervisor.team.registry import InstanceStage
from tests.fakes.hosts import workspace
from tests.fakes.instances import READY
from tests.fakes.migration import DrainScene
from tests.fakes.team import FIRST, outgoing, receipt

BUSY = InstanceSnapshot(status=Status.BUSY, since=1.0)


OLD_ACTOR = f"{FIRST}@10.0.0.9"
START_ON_OLD, START_ON_NEW = f"start {FIRST} on old", f"start {FIRST} on new"
MOVED = ["sync transcript", "sync work", f"prepare {FIRST} on new", "clear old"]
ALL = [f"destroy {OLD_ACTOR}", "end", *MOVED, START_ON_NEW]


@pytest.fixture
async def scene() -> AsyncIterator[DrainScene]:
    made = DrainScene()
    made.drainer.begin()
    yield made
    await made.drainer.end()
    await made.team.members.leave_all()


async def test_an_idle_instance_is_ended_carried_settled_elsewhere_and_started_there(scene: DrainScene) -> None:
    member = await scene.add_followed()
    await asyncio.sleep(5)
    assert scene.log.calls == ALL
    record = member.record
    assert (record.host, record.actor, record.moving_from) == ("new", f"{FIRST}@10.0.0.2", "")
    assert scene.drainer.remaining("old") == {}
    await asyncio.sleep(100)
    assert scene.log.calls == ALL


async def test_who_is_at_work_or_has_messages_is_left_alone_until_that_is_done(scene: DrainScene) -> None:
    member = await scene.add_followed()
    member.snapshot = scene.snapshot = BUSY
    await asyncio.sleep(60)
    assert scene.log.calls == []
    assert scene.drainer.remaining("old")[FIRST].startswith("is at work")
    member.snapshot = scene.snapshot = READY
    await asyncio.sleep(5)
    assert scene.log.calls == ALL


async def test_who_turns_out_to_be_at_work_when_it_is_asked_itself_is_followed_again_undisturbed(
    scene: DrainScene,
) -> None:
    member = await scene.add_followed()
    scene.snapshot = BUSY
    await asyncio.sleep(2)
    assert scene.log.calls[:1] == ["adopt"]
    assert not any(call.startswith(("end", "destroy")) for call in scene.log.calls)
    assert scene.team.members.has(FIRST)
    assert member.record.moving_from == ""


async def test_a_message_that_comes_while_it_is_asked_keeps_the_agent_where_it_is(scene: DrainScene) -> None:
    await scene.add_followed()

    async def send() -> None:
        (message,) = scene.team.outbox.check([outgoing()], "lead", 1.0)
        assert not isinstance(message, Exception)
        await scene.team.outbox.accept([message])

    scene.before_report = send
    await asyncio.sleep(3)
    assert scene.log.calls == ["adopt"]


async def test_one_whose_work_cannot_be_carried_goes_on_where_it_was_and_is_tried_again(scene: DrainScene) -> None:
    member = await scene.add_followed()
    scene.log.errors["sync work"] = UnavailableError("the disk hangs")
    await asyncio.sleep(5)
    assert scene.log.calls[-1] == START_ON_OLD
    assert (member.record.host, member.record.moving_from) == ("old", "")
    assert "the disk hangs" in scene.drainer.remaining("old")[FIRST]
    scene.log.errors.clear()
    await asyncio.sleep(30)
    assert scene.log.calls[-1] == START_ON_NEW


async def test_one_that_cannot_be_settled_elsewhere_belongs_where_it_was(scene: DrainScene) -> None:
    member = await scene.add_followed()
    scene.log.errors["prepare"] = UnavailableError("no room on the disk")
    await asyncio.sleep(5)
    assert scene.places[FIRST] == member.record.host == "old"
    assert scene.log.calls[-1] == START_ON_OLD


async def test_one_that_does_not_start_elsewhere_is_started_there_later_and_nowhere_else(scene: DrainScene) -> None:
    member = await scene.add_followed()
    scene.log.errors["start"] = UnavailableError("no prompt")
    await asyncio.sleep(10)
    assert (member.record.host, member.record.stage, member.record.moving_from) == (
        "new",
        InstanceStage.FAILED,
        "old",
    )
    assert FIRST in scene.drainer.remaining("old")
    scene.log.errors.clear()
    await asyncio.sleep(30)
    assert scene.log.calls == ALL
    assert member.record.moving_from == ""


@pytest.mark.parametrize("host", ["old", "new"])
async def test_what_a_crash_has_cut_off_is_gone_on_with(scene: DrainScene, host: str) -> None:
    member = await scene.add_followed(host=host, moving_from="old", stage=InstanceStage.FAILED, actor=OLD_ACTOR)
    await scene.team.members.leave(FIRST)
    member.snapshot = replace(READY, status=Status.FAILED)
    await asyncio.sleep(10)
    assert scene.log.calls == (ALL[2:] if host == "old" else ALL[-1:])
    assert (member.record.host, member.record.moving_from) == ("new", "")


async def test_a_drain_that_was_taken_back_leaves_its_instances_and_starts_one_again_that_had_been_ended(
    scene: DrainScene,
) -> None:
    scene.drained.clear()
    member = await scene.add_followed(moving_from="old", stage=InstanceStage.FAILED)
    await scene.team.members.leave(FIRST)
    member.snapshot = replace(READY, status=Status.FAILED)
    await asyncio.sleep(10)
    assert scene.log.calls == [START_ON_OLD]
    assert member.record.moving_from == ""
    await asyncio.sleep(100)
    assert scene.log.calls == [START_ON_OLD]


async def test_one_that_has_ended_and_may_go_on_some_day_is_taken_along_and_not_started(scene: DrainScene) -> None:
    member = await scene.add_followed(stage=InstanceStage.STOPPED)
    await scene.team.members.leave(FIRST)
    member.snapshot = replace(READY, status=Status.STOPPED)
    await asyncio.sleep(10)
    assert scene.log.calls == MOVED
    assert member.record.host == "new"


async def test_who_works_in_a_directory_of_the_host_itself_and_who_was_terminated_stay(scene: DrainScene) -> None:
    member = await scene.add_followed(workspace=workspace(FIRST, home=None))
    await asyncio.sleep(10)
    assert scene.log.calls == []
    assert "until it is terminated" in scene.drainer.remaining("old")[FIRST]
    await scene.team.save(FIRST, wanted=False, workspace=workspace(FIRST))
    await asyncio.sleep(10)
    assert scene.log.calls == []
    member.snapshot = replace(READY, status=Status.STOPPED)
    assert scene.drainer.remaining("old") == {}


async def test_while_no_other_host_takes_it_an_instance_goes_on_undisturbed_and_the_reason_is_told(
    scene: DrainScene,
) -> None:
    await scene.add_followed()
    scene.refusal = lambda _: "no other host takes it"
    await asyncio.sleep(20)
    assert scene.log.calls == []
    assert "no other host takes it" in scene.drainer.remaining("old")[FIRST]


async def test_it_is_handed_over_only_to_a_host_with_the_labels_of_its_spawn(scene: DrainScene) -> None:
    await scene.add_followed(labels={"disk": "fast"})
    await asyncio.sleep(5)
    assert scene.wanted == [{"disk": "fast"}]
    assert scene.log.calls == ALL


async def test_while_the_hosts_with_its_labels_are_full_it_goes_on_where_it_is_and_says_for_what_it_waits(
    scene: DrainScene,
) -> None:
    await scene.add_followed(labels={"disk": "fast"})
    scene.full = lambda _: True
    await asyncio.sleep(60)
    assert scene.log.calls == []
    assert scene.drainer.remaining("old")[FIRST] == "waits until there is room on another host that is disk=fast"
    scene.full = lambda _: False
    await asyncio.sleep(5)
    assert scene.log.calls == ALL
    assert scene.drainer.remaining("old") == {}


async def test_who_is_not_to_leave_any_more_waits_for_room_no_longer(scene: DrainScene) -> None:
    member = await scene.add_followed()
    scene.full = lambda _: True
    await asyncio.sleep(10)
    member.snapshot = scene.snapshot = BUSY
    await asyncio.sleep(10)
    assert "until there is room" in scene.drainer.remaining("old")[FIRST]
    scene.drained.clear()
    await asyncio.sleep(5)
    assert scene.drainer.remaining("old")[FIRST].startswith("is at work")
    scene.full = lambda _: False
    await asyncio.sleep(60)
    assert scene.log.calls == []


async def arrived(scene: DrainScene) -> Message:
    (message,) = scene.team.outbox.check([outgoing()], "lead", 1.0)
    assert isinstance(message, Message)
    await scene.team.outbox.accept([message])
    await scene.team.outbox.take_receipts([receipt(message)])
    return message


@pytest.mark.parametrize("actor", [OLD_ACTOR, ""])
async def test_who_delivers_again_what_its_agent_had_lost_is_left_alone_until_that_has_arrived(
    scene: DrainScene, actor: str
) -> None:
    scene.drained.clear()
    await scene.add_followed(actor=actor)
    message = await arrived(scene)
    await scene.team.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a draft")])
    scene.drained.add("old")
    await asyncio.sleep(30)
    assert scene.log.calls == []
    await scene.team.outbox.take_receipts([receipt(message)])
    await asyncio.sleep(5)
    assert scene.log.calls[-1] == START_ON_NEW


async def test_what_it_says_at_the_last_moment_of_a_message_under_way_keeps_the_agent_where_it_is(
    scene: DrainScene,
) -> None:
    scene.drained.clear()
    await scene.add_followed()
    scene.receipts = (receipt(await arrived(scene), MessageStatus.ACCEPTED, "again"),)
    scene.drained.add("old")
    await asyncio.sleep(3)
    assert scene.log.calls[:1] == ["adopt"]
    assert not any(call.startswith(("end", "destroy")) for call in scene.log.calls)


async def test_what_one_that_has_ended_had_alone_is_told_of_when_it_goes_elsewhere(scene: DrainScene) -> None:
    scene.drained.clear()
    member = await scene.add_followed(actor="")
    message = await arrived(scene)
    await scene.team.outbox.take_receipts([receipt(message, MessageStatus.ACCEPTED, "again")])
    await scene.team.members.leave(FIRST)
    await scene.team.mark_ended(member, InstanceStage.STOPPED, "")
    scene.drained.add("old")
    await asyncio.sleep(10)
    found = scene.team.outbox.receipt(message.id)
    assert found is not None
    assert (member.record.host, found.status) == ("new", MessageStatus.UNCONFIRMED)
    assert scene.team.outbox.pending(FIRST) == 0
