"""What has arrived in conversations on another host, and what becomes of it when that host is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.instance.reports import Report
from actors.messages import Message
from actors.worktrees.model import Workspace
from supervisor.store import keys
from tests.unit.supervisor.messaging.outbox_rig import ACCEPTED, BLOCKED, ID, Office
from tests.unit.supervisor.stand_ins import READY, StandInInstance, receipt, turns

CARRIED = Workspace(mode="isolated", directory=Path("/w") / ID, home=Path("/repository/.git"))


async def unsynced(office: Office) -> None:
    """The instance is on another host."""
    await office.team.save(ID, host="worker", actor=f"{ID}@10.0.0.2", workspace=CARRIED)


async def submitted(office: Office, *texts: str) -> list[Message]:
    messages = await office.send(*texts)
    await office.outbox.take_receipts([receipt(message) for message in messages])
    return messages


async def test_what_arrived_on_another_host_stays_stored_until_its_conversation_came_home(office: Office) -> None:
    await unsynced(office)
    first, second, third = await submitted(office, "one", "two", "three")
    assert office.outbox.pending(ID) == 0
    assert await office.stored(keys.MESSAGE_PREFIX) == {first.id, second.id, third.id}

    await office.outbox.unsynced.came_home(ID, {second.id})

    assert await office.stored(keys.MESSAGE_PREFIX) == {third.id}


async def test_what_a_lost_conversation_alone_had_is_delivered_again_before_what_came_later(office: Office) -> None:
    await unsynced(office)
    first, second = await submitted(office, "one", "two")
    await office.team.members.leave(ID)
    (later,) = await office.send("later")
    await office.outbox.unsynced.came_home(ID, {first.id})

    await office.outbox.deliver_again(ID)
    told = office.outbox.receipt(second.id)
    office.instance = StandInInstance()
    office.reach()
    office.outbox.hand_over_again(ID)
    await turns()

    assert office.instance.given == [second.id, later.id]
    assert told is not None
    assert (told.status, "its host was lost" in told.reason) == (ACCEPTED, True)
    await office.outbox.deliver_again(ID)
    assert office.outbox.pending(ID) == 2


async def test_the_next_supervisor_knows_what_is_on_another_host_alone_and_does_not_hand_it_over(
    office: Office,
) -> None:
    await unsynced(office)
    (arrived,) = await submitted(office, "one")
    (waiting,) = await office.send("two")

    later = await office.again()
    later.reach()
    later.outbox.hand_over_again(ID)
    await turns()

    assert later.instance.given == [waiting.id]
    await later.outbox.deliver_again(ID)
    await turns()
    assert later.outbox.pending(ID) == 2
    assert (await later.stored(keys.MESSAGE_PREFIX)) == {arrived.id, waiting.id}
    await later.close()


async def test_a_receipt_that_is_told_twice_takes_nothing_from_what_is_kept(office: Office) -> None:
    await unsynced(office)
    (message,) = await submitted(office, "one")
    await office.outbox.take_receipts([receipt(message)])
    assert await office.stored(keys.MESSAGE_PREFIX) == {message.id}


async def test_what_its_agent_has_lost_is_under_way_again_and_not_handed_over_a_second_time(office: Office) -> None:
    await unsynced(office)
    first, second = await submitted(office, "one", "two")
    await turns()

    await office.outbox.take_receipts([receipt(first, ACCEPTED, "again"), receipt(second, BLOCKED, "a draft")])
    office.outbox.reachable(ID)
    await turns()

    assert (office.outbox.pending(ID), office.outbox.blocked_reason(ID)) == (2, "a draft")
    assert office.instance.given == [first.id, second.id]
    (later,) = await submitted(office, "three")
    await office.outbox.unsynced.came_home(ID, {later.id})
    assert await office.stored(keys.MESSAGE_PREFIX) == {first.id, second.id}
    await office.outbox.take_receipts([receipt(first), receipt(second)])
    assert (office.outbox.pending(ID), set(office.outbox.unsynced.of(ID))) == (0, {first.id, second.id})


async def test_a_message_that_arrives_and_is_lost_in_one_report_is_under_way(office: Office) -> None:
    await unsynced(office)
    (message,) = await office.send("one")
    await office.outbox.take_receipts([receipt(message), receipt(message, ACCEPTED, "again")])
    assert office.outbox.pending(ID) == 1
    assert not office.outbox.unsynced.of(ID)


async def test_of_one_that_is_terminated_nothing_is_kept(office: Office) -> None:
    await unsynced(office)
    await submitted(office, "one")
    await office.outbox.close(ID)
    assert await office.stored(keys.MESSAGE_PREFIX) == set()


async def test_who_begins_another_conversation_misses_nothing_of_the_one_before(office: Office) -> None:
    await unsynced(office)
    await office.team.save(ID, transcript_path="/t/old.jsonl")
    await submitted(office, "one")
    (later,) = await office.send("two")
    snapshot = replace(READY, transcript_path="/t/new.jsonl")
    report = Report(incarnation="first", sequence=1, snapshot=snapshot, receipts=(receipt(later),))
    await office.team.take_in(ID, report)
    assert await office.stored(keys.MESSAGE_PREFIX) == {later.id}


async def test_on_this_machine_a_message_that_arrived_is_kept_no_longer(office: Office) -> None:
    await submitted(office, "one")
    assert await office.stored(keys.MESSAGE_PREFIX) == set()
