"""What counts as a lost message: nothing that was ended on purpose, and nothing that is proved in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.messages import Message, MessageStatus
from supervisor.metrics.metrics import Count, TimeBucket, Timing
from tests.unit.supervisor.messaging.outbox_rig import FAILED, ID, SUBMITTED, UNCONFIRMED, Office
from tests.unit.supervisor.stand_ins import receipt


def seen(office: Office) -> TimeBucket:
    recorder = office.team.recorder
    return recorder.history.window(recorder.clock(), 300)


def lost(office: Office) -> tuple[int, int]:
    return seen(office).counted(Count.MESSAGES_FAILED), seen(office).counted(Count.MESSAGES_UNCONFIRMED)


async def told(office: Office, message: Message, status: MessageStatus) -> None:
    """With the time at which it is heard of."""
    said = replace(receipt(message, status), at=office.team.recorder.clock())
    await office.outbox.take_receipts([said])


async def test_what_waits_for_an_instance_that_is_terminated_is_no_loss(office: Office) -> None:
    await office.send("one", "two", "three")
    office.team.registry.get(ID).ending = True
    await office.outbox.close(ID)
    assert lost(office) == (0, 0)


async def test_what_waits_for_an_instance_that_is_gone_by_itself_is_lost(office: Office) -> None:
    await office.send("one", "two", "three")
    await office.outbox.close(ID)
    assert sum(lost(office)) == 3


async def test_a_message_that_is_proved_late_is_no_loss_any_more_and_its_time_counts(office: Office) -> None:
    doubted, never_proved = await office.send("one", "two")
    await told(office, doubted, UNCONFIRMED)
    await told(office, never_proved, UNCONFIRMED)
    assert lost(office) == (0, 2)
    await told(office, doubted, SUBMITTED)
    assert lost(office) == (0, 1)
    assert seen(office).timed(Timing.MESSAGE).count == 1
    await told(office, doubted, SUBMITTED)
    assert lost(office) == (0, 1)


async def test_a_late_proof_counts_also_for_the_next_supervisor(office: Office) -> None:
    (doubted,) = await office.send("one")
    await told(office, doubted, UNCONFIRMED)
    recorder = office.team.recorder
    later = await office.again()
    record = recorder.history.record(recorder.clock())
    later.team.recorder.history.restore(record, later.team.recorder.clock())
    assert lost(later) == (0, 1)
    await told(later, doubted, SUBMITTED)
    assert lost(later) == (0, 0)
    await later.close()


@pytest.mark.parametrize("status", [FAILED, UNCONFIRMED])
async def test_what_an_instance_says_of_its_messages_while_it_is_terminated_is_no_loss(
    office: Office, status: MessageStatus
) -> None:
    (message,) = await office.send("one")
    office.team.registry.get(ID).ending = True
    await told(office, message, status)
    assert lost(office) == (0, 0)


async def test_what_is_sent_to_one_that_was_terminated_and_is_just_being_restarted_waits_for_it(office: Office) -> None:
    await office.outbox.close(ID)
    office.outbox.begin_life(ID)
    await office.send("one")
    assert office.outbox.pending(ID) == 1
