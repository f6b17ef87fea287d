"""Histograms, the history by time, and the recorder."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequestError, UnavailableError
from actors.messages import Message, MessageStatus, Receipt
from supervisor.metrics.metrics import (
    COARSE_S,
    FINE_S,
    KEPT_S,
    Count,
    Histogram,
    History,
    MetricsRecorder,
    TimeBucket,
    Timing,
)

DURATIONS = st.lists(st.floats(min_value=0, max_value=7000), min_size=1, max_size=200)


def of(durations: list[float]) -> Histogram:
    made = Histogram()
    for seconds in durations:
        made.add(seconds)
    return made


@given(DURATIONS, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_never_too_low_and_at_most_ten_per_cent_too_high(durations: list[float], q: float) -> None:
    exact = sorted(durations)[max(0, -int(-q * len(durations) // 1) - 1)]
    assert exact * 0.999 <= of(durations).percentile_s(q) <= max(exact * 1.101, 1e-4)


@given(DURATIONS, DURATIONS)
def test_two_that_are_merged_are_one_of_all(first: list[float], second: list[float]) -> None:
    merged = of(first)
    merged.merge(of(second))
    together = of(first + second)
    assert (merged.count, merged.longest_s) == (together.count, together.longest_s)
    assert merged.average_s == pytest.approx(together.average_s)
    assert [merged.percentile_s(q) for q in (0.1, 0.5, 0.9)] == [together.percentile_s(q) for q in (0.1, 0.5, 0.9)]


@given(DURATIONS)
def test_a_histogram_comes_back_from_its_stored_form(durations: list[float]) -> None:
    made = of(durations)
    again = Histogram.from_plain(msgpack.unpackb(msgpack.packb(made.to_plain())))
    assert again.to_plain() == made.to_plain()
    assert again.count == made.count


def test_an_empty_histogram_has_zeros() -> None:
    assert (Histogram().average_s, Histogram().percentile_s(0.5)) == (0.0, 0.0)


def test_any_number_of_durations_takes_bounded_memory() -> None:
    made = of([step * 0.001 for step in range(100_000)] + [1e9])
    assert len(made.to_plain()[2]) <= 191
    assert made.percentile_s(1.0) == 1e9


NOON = 1_000_000 * COARSE_S


def with_failures(*times: float) -> History:
    history = History()
    for at in times:
        history.slot(at).count(Count.SPAWNS_FAILED, 1)
    return history


def failures(slot: TimeBucket) -> int:
    return slot.counted(Count.SPAWNS_FAILED)


def test_a_window_holds_what_happened_in_it_and_nothing_older() -> None:
    history = with_failures(NOON, NOON + 30, NOON + 60)
    assert failures(history.window(NOON + 61, 10)) == 1
    assert failures(history.window(NOON + 61, 35)) == 2
    assert failures(history.window(NOON + 61, 100)) == 3
    assert failures(history.window(NOON + 61 + KEPT_S, 100)) == 0


def test_what_is_old_is_kept_coarsely_and_what_is_older_than_a_day_is_forgotten() -> None:
    history = with_failures(*(NOON + step * FINE_S for step in range(3 * KEPT_S // FINE_S)))
    end = NOON + 3 * KEPT_S
    assert len(list(history._slots())) <= 90 + 289 + 2
    day = failures(history.window(end, KEPT_S))
    assert KEPT_S / FINE_S <= day <= (KEPT_S + COARSE_S) / FINE_S
    assert failures(history.window(end, 10 * KEPT_S)) <= day + COARSE_S / FINE_S


def test_points_divide_the_window_and_leave_out_when_nothing_happened() -> None:
    history = with_failures(NOON, NOON + 1, NOON + 50)
    points = history.points(NOON + 60, 60, 6)
    assert [(point.start, failures(point)) for point in points] == [(NOON, 2), (NOON + 50, 1)]
    assert with_failures().points(NOON, 60, 6) == []


def test_a_record_holds_its_span_and_is_taken_in_again_by_a_later_history() -> None:
    history = with_failures(NOON - 1, NOON, NOON + 200)
    history.slot(NOON + 201).observe(Timing.SPAWN, 2.0)
    record = TimeBucket.from_plain(msgpack.unpackb(msgpack.packb(history.record(NOON + 250).to_plain())))
    assert (record.start, failures(record)) == (NOON, 2)

    later = with_failures(NOON + 260)
    assert later.restore(record, NOON + 260)
    assert failures(later.window(NOON + 261, 300)) == 3
    assert later.window(NOON + 261, 300).timed(Timing.SPAWN).longest_s == 2.0
    assert failures(later.record(NOON + 261)) == 3


def test_a_record_of_yesterday_is_not_taken_in() -> None:
    record = with_failures(NOON).record(NOON)
    history = History()
    assert not history.restore(record, NOON + KEPT_S + 1)
    assert failures(history.window(NOON + KEPT_S + 1, KEPT_S)) == 0


def test_what_is_taken_back_is_taken_from_where_it_was_counted_and_from_nowhere_else() -> None:
    history = History()
    history.slot(100.0).count(Count.MESSAGES_UNCONFIRMED, 1)
    history.slot(100.0 + 2 * COARSE_S).count(Count.MESSAGES_UNCONFIRMED, 1)
    assert history.take_back(Count.MESSAGES_UNCONFIRMED, 99.0)
    assert not history.take_back(Count.MESSAGES_UNCONFIRMED, 99.0)
    assert history.window(110.0 + 2 * COARSE_S, 300).counted(Count.MESSAGES_UNCONFIRMED) == 1


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
