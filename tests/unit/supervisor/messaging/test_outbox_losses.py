"""What counts as a lost message: nothing that was ended on purpose, and nothing that is proved in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.messages import Message, MessageStatus
from supervisor.metrics.metrics import Count, TimeBucket, Timing
from tests.fakes.team import FIRST, OneInstanceTeam, receipt


def seen(scene: OneInstanceTeam) -> TimeBucket:
    recorder = scene.team.recorder
    return recorder.history.window(recorder.clock(), 300)


def lost(scene: OneInstanceTeam) -> tuple[int, int]:
    return seen(scene).counted(Count.MESSAGES_FAILED), seen(scene).counted(Count.MESSAGES_UNCONFIRMED)


async def told(scene: OneInstanceTeam, message: Message, status: MessageStatus) -> None:
    """With the time at which it is heard of."""
    said = replace(receipt(message, status), at=scene.team.recorder.clock())
    await scene.outbox.take_receipts([said])


async def test_what_waits_for_an_instance_that_is_terminated_is_no_loss(scene: OneInstanceTeam) -> None:
    await scene.send("one", "two", "three")
    scene.team.registry.get(FIRST).ending = True
    await scene.outbox.close(FIRST)
    assert lost(scene) == (0, 0)


async def test_what_waits_for_an_instance_that_is_gone_by_itself_is_lost(scene: OneInstanceTeam) -> None:
    await scene.send("one", "two", "three")
    await scene.outbox.close(FIRST)
    assert sum(lost(scene)) == 3


async def test_a_message_that_is_proved_late_is_no_loss_any_more_and_its_time_counts(scene: OneInstanceTeam) -> None:
    doubted, never_proved = await scene.send("one", "two")
    await told(scene, doubted, MessageStatus.UNCONFIRMED)
    await told(scene, never_proved, MessageStatus.UNCONFIRMED)
    assert lost(scene) == (0, 2)
    await told(scene, doubted, MessageStatus.SUBMITTED)
    assert lost(scene) == (0, 1)
    assert seen(scene).timed(Timing.MESSAGE).count == 1
    await told(scene, doubted, MessageStatus.SUBMITTED)
    assert lost(scene) == (0, 1)


async def test_a_late_proof_counts_also_for_the_next_supervisor(scene: OneInstanceTeam) -> None:
    (doubted,) = await scene.send("one")
    await told(scene, doubted, MessageStatus.UNCONFIRMED)
    recorder = scene.team.recorder
    later = await scene.again()
    record = recorder.history.record(recorder.clock())
    later.team.recorder.history.restore(record, later.team.recorder.clock())
    assert lost(later) == (0, 1)
    await told(later, doubted, MessageStatus.SUBMITTED)
    assert lost(later) == (0, 0)
    await later.close()


@pytest.mark.parametrize("status", [MessageStatus.FAILED, MessageStatus.UNCONFIRMED])
async def test_what_an_instance_says_of_its_messages_while_it_is_terminated_is_no_loss(
    scene: OneInstanceTeam, status: MessageStatus
) -> None:
    (message,) = await scene.send("one")
    scene.team.registry.get(FIRST).ending = True
    await told(scene, message, status)
    assert lost(scene) == (0, 0)


async def test_what_is_sent_to_one_that_was_terminated_and_is_just_being_restarted_waits_for_it(
    scene: OneInstanceTeam,
) -> None:
    await scene.outbox.close(FIRST)
    scene.outbox.begin_life(FIRST)
    await scene.send("one")
    assert scene.outbox.pending(FIRST) == 1
