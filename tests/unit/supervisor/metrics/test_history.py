from __future__ import annotations

import msgpack

from supervisor.metrics.metrics import COARSE_S, FINE_S, KEPT_S, Count, History, TimeBucket, Timing

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
