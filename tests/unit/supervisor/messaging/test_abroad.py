"""What has arrived in conversations on another host, and what becomes of it when that host is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.instance.reports import Report
from actors.messages import Message, MessageStatus
from actors.worktrees.model import Workspace
from supervisor.store import keys
from tests.fakes.clock import turns
from tests.fakes.instances import READY, FakeInstance
from tests.fakes.team import FIRST, OneInstanceTeam, receipt

CARRIED = Workspace(mode="isolated", directory=Path("/w") / FIRST, home=Path("/repository/.git"))


async def unsynced(scene: OneInstanceTeam) -> None:
    """The instance is on another host."""
    await scene.team.save(FIRST, host="worker", actor=f"{FIRST}@10.0.0.2", workspace=CARRIED)


async def submitted(scene: OneInstanceTeam, *texts: str) -> list[Message]:
    messages = await scene.send(*texts)
    await scene.outbox.take_receipts([receipt(message) for message in messages])
    return messages


async def test_what_arrived_on_another_host_stays_stored_until_its_conversation_came_home(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    first, second, third = await submitted(scene, "one", "two", "three")
    assert scene.outbox.pending(FIRST) == 0
    assert await scene.stored(keys.MESSAGE_PREFIX) == {first.id, second.id, third.id}

    await scene.outbox.unsynced.came_home(FIRST, {second.id})

    assert await scene.stored(keys.MESSAGE_PREFIX) == {third.id}


async def test_what_a_lost_conversation_alone_had_is_delivered_again_before_what_came_later(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    first, second = await submitted(scene, "one", "two")
    await scene.team.members.leave(FIRST)
    (later,) = await scene.send("later")
    await scene.outbox.unsynced.came_home(FIRST, {first.id})

    await scene.outbox.deliver_again(FIRST)
    told = scene.outbox.receipt(second.id)
    scene.instance = FakeInstance()
    scene.reach()
    scene.outbox.hand_over_again(FIRST)
    await turns()

    assert scene.instance.given == [second.id, later.id]
    assert told is not None
    assert (told.status, "its host was lost" in told.reason) == (MessageStatus.ACCEPTED, True)
    await scene.outbox.deliver_again(FIRST)
    assert scene.outbox.pending(FIRST) == 2


async def test_the_next_supervisor_knows_what_is_on_another_host_alone_and_does_not_hand_it_over(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    (arrived,) = await submitted(scene, "one")
    (waiting,) = await scene.send("two")

    later = await scene.again()
    later.reach()
    later.outbox.hand_over_again(FIRST)
    await turns()

    assert later.instance.given == [waiting.id]
    await later.outbox.deliver_again(FIRST)
    await turns()
    assert later.outbox.pending(FIRST) == 2
    assert (await later.stored(keys.MESSAGE_PREFIX)) == {arrived.id, waiting.id}
    await later.close()


async def test_a_receipt_that_is_told_twice_takes_nothing_from_what_is_kept(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    (message,) = await submitted(scene, "one")
    await scene.outbox.take_receipts([receipt(message)])
    assert await scene.stored(keys.MESSAGE_PREFIX) == {message.id}


async def test_what_its_agent_has_lost_is_under_way_again_and_not_handed_over_a_second_time(
    scene: OneInstanceTeam,
) -> None:
    await unsynced(scene)
    first, second = await submitted(scene, "one", "two")
    await turns()

    await scene.outbox.take_receipts(
        [receipt(first, MessageStatus.ACCEPTED, "again"), receipt(second, MessageStatus.BLOCKED, "a draft")]
    )
    scene.outbox.reachable(FIRST)
    await turns()

    assert (scene.outbox.pending(FIRST), scene.outbox.blocked_reason(FIRST)) == (2, "a draft")
    assert scene.instance.given == [first.id, second.id]
    (later,) = await submitted(scene, "three")
    await scene.outbox.unsynced.came_home(FIRST, {later.id})
    assert await scene.stored(keys.MESSAGE_PREFIX) == {first.id, second.id}
    await scene.outbox.take_receipts([receipt(first), receipt(second)])
    assert (scene.outbox.pending(FIRST), set(scene.outbox.unsynced.of(FIRST))) == (0, {first.id, second.id})


async def test_a_message_that_arrives_and_is_lost_in_one_report_is_under_way(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    (message,) = await scene.send("one")
    await scene.outbox.take_receipts([receipt(message), receipt(message, MessageStatus.ACCEPTED, "again")])
    assert scene.outbox.pending(FIRST) == 1
    assert not scene.outbox.unsynced.of(FIRST)


async def test_of_one_that_is_terminated_nothing_is_kept(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    await submitted(scene, "one")
    await scene.outbox.close(FIRST)
    assert await scene.stored(keys.MESSAGE_PREFIX) == set()


async def test_who_begins_another_conversation_misses_nothing_of_the_one_before(scene: OneInstanceTeam) -> None:
    await unsynced(scene)
    await scene.team.save(FIRST, transcript_path="/t/old.jsonl")
    await submitted(scene, "one")
    (later,) = await scene.send("two")
    snapshot = replace(READY, transcript_path="/t/new.jsonl")
    report = Report(incarnation="first", sequence=1, snapshot=snapshot, receipts=(receipt(later),))
    await scene.team.take_in(FIRST, report)
    assert await scene.stored(keys.MESSAGE_PREFIX) == {later.id}


async def test_on_this_machine_a_message_that_arrived_is_kept_no_longer(scene: OneInstanceTeam) -> None:
    await submitted(scene, "one")
    assert await scene.stored(keys.MESSAGE_PREFIX) == set()
