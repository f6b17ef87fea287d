from __future__ import annotations

from supervisor.backoff import ENOUGH, FIRST_PAUSE_S, LONGEST_PAUSE_S, Backoff
from supervisor.recovery.reconciler import EndActor

ACT, OTHER = EndActor("spec_0_0_1"), EndActor("spec_0_0_2")


def test_pauses_grow_up_to_a_bound_for_each_act_alone() -> None:
    tries, now, pauses = Backoff[EndActor](), 100.0, []
    for _ in range(12):
        assert tries.may(ACT, now)
        tries.failed(ACT, now)
        assert not tries.may(ACT, now)
        assert tries.may(OTHER, now)
        pauses.append(tries.pause_s(now))
        now += pauses[-1]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_what_works_or_is_not_to_be_done_any_more_is_forgotten() -> None:
    tries = Backoff[EndActor]()
    for act in (ACT, OTHER):
        tries.failed(act, 1.0)
    tries.worked(ACT)
    assert tries.may(ACT, 1.0)
    tries.forget_all_but([ACT])
    assert tries.may(OTHER, 1.0)
    assert not tries.any
    assert tries.pause_s(1.0) == LONGEST_PAUSE_S


def test_a_failure_is_soon_over_until_it_has_come_often_enough() -> None:
    tries = Backoff[EndActor]()
    lasting = [tries.failed(ACT, 1.0) for _ in range(ENOUGH)]
    assert lasting == [False] * (ENOUGH - 1) + [True]
    assert not tries.soon_over
    tries.failed(OTHER, 1.0)
    assert tries.soon_over


def test_what_has_failed_for_a_day_is_tried_again_after_the_longest_pause() -> None:
    tries = Backoff[EndActor]()
    for _ in range(3000):
        tries.failed(ACT, 1.0)
    assert not tries.may(ACT, LONGEST_PAUSE_S)
    assert tries.may(ACT, 1.0 + LONGEST_PAUSE_S)
