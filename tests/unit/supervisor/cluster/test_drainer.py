"""Draining a host: who is moved when, and what becomes of one whose move is cut off."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from actors.errors import UnavailableError
from actors.instance.reports import InstanceSnapshot
from actors.messages import Message, MessageStatus
from actors.status import Status
from supervisor.cluster import migration as drainer_module
from supervisor.team.registry import InstanceStage
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.cluster.leaving import FIRST, World, played, workspace
from tests.unit.supervisor.stand_ins import READY, outgoing, receipt

BUSY = InstanceSnapshot(status=Status.BUSY, since=1.0)


ALL = [f"destroy {FIRST}@1", "end", "conversation", "work", "settle on new", "clear old", "start on new"]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drainer_module, "time", virtual_time.clock())


def test_an_idle_instance_is_ended_carried_settled_elsewhere_and_started_there() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        await asyncio.sleep(5)
        assert world.deeds == ALL
        record = member.record
        assert (record.host, record.actor, record.moving_from) == ("new", f"{FIRST}@10.0.0.2", "")
        assert world.drainer.remaining("old") == {}
        await asyncio.sleep(100)
        assert world.deeds == ALL

    played(test)


def test_who_is_at_work_or_has_messages_is_left_alone_until_that_is_done() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        member.snapshot = world.seen = BUSY
        await asyncio.sleep(60)
        assert world.deeds == []
        assert world.drainer.remaining("old")[FIRST].startswith("is at work")
        member.snapshot = world.seen = READY
        await asyncio.sleep(5)
        assert world.deeds == ALL

    played(test)


def test_who_turns_out_to_be_at_work_when_it_is_asked_itself_is_followed_again_undisturbed() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.seen = BUSY
        await asyncio.sleep(2)
        assert world.deeds[:1] == ["adopt"]
        assert not any(deed.startswith(("end", "destroy")) for deed in world.deeds)
        assert world.team.members.has(FIRST)
        assert member.record.moving_from == ""

    played(test)


def test_a_message_that_comes_while_it_is_asked_keeps_the_agent_where_it_is() -> None:
    async def test(world: World) -> None:
        await world.recruit()

        async def send() -> None:
            (message,) = world.team.outbox.check([outgoing()], "lead", 1.0)
            assert not isinstance(message, Exception)
            await world.team.outbox.accept([message])

        world.meanwhile = send
        await asyncio.sleep(3)
        assert world.deeds == ["adopt"]

    played(test)


def test_one_whose_work_cannot_be_carried_goes_on_where_it_was_and_is_tried_again() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.trouble["work"] = UnavailableError("the disk hangs")
        await asyncio.sleep(5)
        assert world.deeds[-1] == "start on old"
        assert (member.record.host, member.record.moving_from) == ("old", "")
        assert "the disk hangs" in world.drainer.remaining("old")[FIRST]
        world.trouble.clear()
        await asyncio.sleep(30)
        assert world.deeds[-1] == "start on new"

    played(test)


def test_one_that_cannot_be_settled_elsewhere_belongs_where_it_was() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.trouble["settle"] = UnavailableError("no room on the disk")
        await asyncio.sleep(5)
        assert world.places[FIRST] == member.record.host == "old"
        assert world.deeds[-1] == "start on old"

    played(test)


def test_one_that_does_not_start_elsewhere_is_started_there_later_and_nowhere_else() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.trouble["start"] = UnavailableError("no prompt")
        await asyncio.sleep(10)
        assert (member.record.host, member.record.stage, member.record.moving_from) == (
            "new",
            InstanceStage.FAILED,
            "old",
        )
        assert FIRST in world.drainer.remaining("old")
        world.trouble.clear()
        await asyncio.sleep(30)
        assert world.deeds == ALL
        assert member.record.moving_from == ""

    played(test)


@pytest.mark.parametrize("host", ["old", "new"])
def test_what_a_crash_has_cut_off_is_gone_on_with(host: str) -> None:
    async def test(world: World) -> None:
        member = await world.recruit(host=host, moving_from="old", stage=InstanceStage.FAILED, actor=f"{FIRST}@1")
        await world.team.members.leave(FIRST)
        member.snapshot = replace(READY, status=Status.FAILED)
        await asyncio.sleep(10)
        assert world.deeds == (ALL[2:] if host == "old" else ALL[-1:])
        assert (member.record.host, member.record.moving_from) == ("new", "")

    played(test)


def test_a_drain_that_was_taken_back_leaves_its_instances_and_starts_one_again_that_had_been_ended() -> None:
    async def test(world: World) -> None:
        world.drained.clear()
        member = await world.recruit(moving_from="old", stage=InstanceStage.FAILED)
        await world.team.members.leave(FIRST)
        member.snapshot = replace(READY, status=Status.FAILED)
        await asyncio.sleep(10)
        assert world.deeds == ["start on old"]
        assert member.record.moving_from == ""
        await asyncio.sleep(100)
        assert world.deeds == ["start on old"]

    played(test)


def test_one_that_has_ended_and_may_go_on_some_day_is_taken_along_and_not_started() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(stage=InstanceStage.STOPPED)
        await world.team.members.leave(FIRST)
        member.snapshot = replace(READY, status=Status.STOPPED)
        await asyncio.sleep(10)
        assert world.deeds == ["conversation", "work", "settle on new", "clear old"]
        assert member.record.host == "new"

    played(test)


def test_who_works_in_a_directory_of_the_host_itself_and_who_was_terminated_stay() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(workspace=workspace(home=None))
        await asyncio.sleep(10)
        assert world.deeds == []
        assert "until it is terminated" in world.drainer.remaining("old")[FIRST]
        await world.team.save(FIRST, wanted=False, workspace=workspace())
        await asyncio.sleep(10)
        assert world.deeds == []
        member.snapshot = replace(READY, status=Status.STOPPED)
        assert world.drainer.remaining("old") == {}

    played(test)


def test_while_no_other_host_takes_it_an_instance_goes_on_undisturbed_and_the_reason_is_told() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        world.full = True
        await asyncio.sleep(20)
        assert world.deeds == []
        assert "no other host takes it" in world.drainer.remaining("old")[FIRST]

    played(test)


def test_it_is_handed_over_only_to_a_host_with_the_labels_of_its_spawn() -> None:
    async def test(world: World) -> None:
        await world.recruit(labels={"disk": "fast"})
        await asyncio.sleep(5)
        assert world.wanted == [{"disk": "fast"}]
        assert world.deeds == ALL

    played(test)


def test_while_the_hosts_with_its_labels_are_full_it_goes_on_where_it_is_and_says_for_what_it_waits() -> None:
    async def test(world: World) -> None:
        await world.recruit(labels={"disk": "fast"})
        world.room.clear()
        await asyncio.sleep(60)
        assert world.deeds == []
        assert world.drainer.remaining("old")[FIRST] == "waits until there is room on another host that is disk=fast"
        world.room.set()
        await asyncio.sleep(5)
        assert world.deeds == ALL
        assert world.drainer.remaining("old") == {}

    played(test)


def test_who_is_not_to_leave_any_more_waits_for_room_no_longer() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.room.clear()
        await asyncio.sleep(10)
        member.snapshot = world.seen = BUSY
        await asyncio.sleep(10)
        assert "until there is room" in world.drainer.remaining("old")[FIRST]
        world.drained.clear()
        await asyncio.sleep(5)
        assert world.drainer.remaining("old")[FIRST].startswith("is at work")
        world.room.set()
        await asyncio.sleep(60)
        assert world.deeds == []

    played(test)


async def arrived(world: World) -> Message:
    (message,) = world.team.outbox.check([outgoing()], "lead", 1.0)
    assert isinstance(message, Message)
    await world.team.outbox.accept([message])
    await world.team.outbox.take_receipts([receipt(message)])
    return message


@pytest.mark.parametrize("actor", [f"{FIRST}@1", ""])
def test_who_delivers_again_what_its_agent_had_lost_is_left_alone_until_that_has_arrived(actor: str) -> None:
    async def test(world: World) -> None:
        world.drained.clear()
        await world.recruit(actor=actor)
        message = await arrived(world)
        await world.team.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a draft")])
        world.drained.add("old")
        await asyncio.sleep(30)
        assert world.deeds == []
        await world.team.outbox.take_receipts([receipt(message)])
        await asyncio.sleep(5)
        assert world.deeds[-1] == "start on new"

    played(test)


def test_what_it_says_at_the_last_moment_of_a_message_under_way_keeps_the_agent_where_it_is() -> None:
    async def test(world: World) -> None:
        world.drained.clear()
        await world.recruit()
        world.told = (receipt(await arrived(world), MessageStatus.ACCEPTED, "again"),)
        world.drained.add("old")
        await asyncio.sleep(3)
        assert world.deeds[:1] == ["adopt"]
        assert not any(deed.startswith(("end", "destroy")) for deed in world.deeds)

    played(test)


def test_what_one_that_has_ended_had_alone_is_told_of_when_it_goes_elsewhere() -> None:
    async def test(world: World) -> None:
        world.drained.clear()
        member = await world.recruit(actor="")
        message = await arrived(world)
        await world.team.outbox.take_receipts([receipt(message, MessageStatus.ACCEPTED, "again")])
        await world.team.members.leave(FIRST)
        await world.team.mark_ended(member, InstanceStage.STOPPED, "")
        world.drained.add("old")
        await asyncio.sleep(10)
        found = world.team.outbox.receipt(message.id)
        assert found is not None
        assert (member.record.host, found.status) == ("new", MessageStatus.UNCONFIRMED)
        assert world.team.outbox.pending(FIRST) == 0

    played(test)
