from __future__ import annotations

from actors.backoff import ENOUGH, Backoff, RetrySchedule

ACT, OTHER = "one act", "another act"
BACKOFF = Backoff(first_s=0.5, longest_s=30.0)


def test_pauses_grow_up_to_a_bound_for_each_act_alone() -> None:
    tries, now, pauses = RetrySchedule[str](BACKOFF), 100.0, []
    for _ in range(12):
        assert tries.may(ACT, now)
        tries.failed(ACT, now)
        assert not tries.may(ACT, now)
        assert tries.may(OTHER, now)
        pauses.append(tries.pause_s(now))
        now += pauses[-1]
    assert pauses[0] == BACKOFF.first_s
    assert pauses == sorted(pauses)
    assert pauses[-1] == BACKOFF.longest_s


def test_what_works_or_is_not_to_be_done_any_more_is_forgotten() -> None:
    tries = RetrySchedule[str](BACKOFF)
    for act in (ACT, OTHER):
        tries.failed(act, 1.0)
    tries.worked(ACT)
    assert tries.may(ACT, 1.0)
    tries.forget_all_but([ACT])
    assert tries.may(OTHER, 1.0)
    assert not tries.any
    assert tries.pause_s(1.0) == BACKOFF.longest_s


def test_a_failure_is_soon_over_until_it_has_come_often_enough() -> None:
    tries = RetrySchedule[str](BACKOFF)
    lasting = [tries.failed(ACT, 1.0) for _ in range(ENOUGH)]
    assert lasting == [False] * (ENOUGH - 1) + [True]
    assert not tries.soon_over
    tries.failed(OTHER, 1.0)
    assert tries.soon_over


def test_what_has_failed_for_a_day_is_tried_again_after_the_longest_pause() -> None:
    tries = RetrySchedule[str](BACKOFF)
    for _ in range(3000):
        tries.failed(ACT, 1.0)
    assert not tries.may(ACT, BACKOFF.longest_s)
    assert tries.may(ACT, 1.0 + BACKOFF.longest_s)


def test_a_pause_doubles_with_each_failure_up_to_the_longest_and_there_is_none_before_the_first() -> None:
    assert [BACKOFF.pause_s(failures) for failures in (0, 1, 2, 3, 9, 10_000)] == [0.0, 0.5, 1.0, 2.0, 30.0, 30.0]
