from __future__ import annotations

import pytest

from actors.errors import InvalidRequestError, UnavailableError
from actors.messages import Message, MessageStatus, Receipt
from supervisor.metrics.metrics import Count, MetricsRecorder, TimeBucket, Timing


def message() -> Message:
    return Message(id="msg_1", instance_id="spec_0_0_1", sender="lead", text="x", immediate=False, accepted_at=100.0)


def end(status: MessageStatus) -> Receipt:
    return Receipt(message_id="msg_1", instance_id="spec_0_0_1", status=status, at=102.0)


def told(recorder: MetricsRecorder) -> TimeBucket:
    return recorder.history.window(recorder.clock(), 60)


def test_a_block_that_succeeds_is_timed_and_one_that_fails_is_counted() -> None:
    recorder = MetricsRecorder()
    with recorder.timing(Timing.SPAWN, failures=Count.SPAWNS_FAILED):
        pass
    with pytest.raises(UnavailableError), recorder.timing(Timing.SPAWN, failures=Count.SPAWNS_FAILED):
        raise UnavailableError("full")
    assert told(recorder).timed(Timing.SPAWN).count == 1
    assert told(recorder).counted(Count.SPAWNS_FAILED) == 1
    assert recorder.last_failures == {Count.SPAWNS_FAILED: "full"}


def test_a_request_that_cannot_be_is_no_failure_of_the_team() -> None:
    recorder = MetricsRecorder()
    with (
        pytest.raises(InvalidRequestError, match="no repository"),
        recorder.timing(Timing.SPAWN, failures=Count.SPAWNS_FAILED),
    ):
        raise InvalidRequestError("no repository")
    assert told(recorder).timed(Timing.SPAWN).count == 0
    assert told(recorder).counted(Count.SPAWNS_FAILED) == 0


@pytest.mark.parametrize(
    ("status", "submitted", "failed", "unconfirmed"),
    [(MessageStatus.SUBMITTED, 1, 0, 0), (MessageStatus.FAILED, 0, 1, 0), (MessageStatus.UNCONFIRMED, 0, 0, 1)],
)
def test_the_end_of_a_message_is_counted_by_what_became_of_it(
    status: MessageStatus, submitted: int, failed: int, unconfirmed: int
) -> None:
    recorder = MetricsRecorder()
    recorder.receipt(message(), end(status))
    slot = told(recorder)
    assert slot.timed(Timing.MESSAGE).count == submitted
    assert slot.timed(Timing.MESSAGE).total_s == 2.0 * submitted
    assert (slot.counted(Count.MESSAGES_FAILED), slot.counted(Count.MESSAGES_UNCONFIRMED)) == (failed, unconfirmed)


def test_the_first_message_of_a_spawn_that_fails_is_no_lost_message() -> None:
    recorder = MetricsRecorder()
    recorder.receipt(message(), end(MessageStatus.FAILED), meant=True)
    recorder.receipt(message(), end(MessageStatus.SUBMITTED), meant=True)
    assert told(recorder).counted(Count.MESSAGES_FAILED) == 0
    assert told(recorder).timed(Timing.MESSAGE).count == 1


def test_the_first_change_after_each_settling_is_told_once() -> None:
    recorder, changes = MetricsRecorder(), list[str]()
    recorder.subscribe(lambda _: changes.append("change"))
    recorder.count(Count.PASTES, 0)
    assert changes == []
    recorder.count(Count.PASTES, 2)
    recorder.observe(Timing.CALL, 0.1)
    assert changes == ["change"]
    recorder.settle()
    recorder.count(Count.PASTES)
    assert changes == ["change", "change"]
