"""A host that is missed is waited for: long enough for its lease to run out, and longer when the head itself is new."""

from __future__ import annotations

from supervisor.cluster.scheduler import FENCE_S, RETURN_S, FailureDetector


def test_a_host_that_was_there_is_given_up_when_no_copy_on_it_may_type_any_more() -> None:
    failure_detector = FailureDetector()
    failure_detector.see({"one"})

    assert not failure_detector.miss("one", 100.0)
    assert not failure_detector.miss("one", 100.0 + FENCE_S - 1)
    assert failure_detector.miss("one", 100.0 + FENCE_S)


def test_a_host_that_has_not_joined_a_new_head_yet_is_waited_for_longer() -> None:
    failure_detector = FailureDetector()
    failure_detector.see({"head"})
    failure_detector.miss("one", 100.0)

    assert not failure_detector.miss("one", 100.0 + FENCE_S)
    assert failure_detector.see({"head", "one"}) == ["one"]
    failure_detector.miss("two", 100.0)
    assert failure_detector.miss("two", 100.0 + RETURN_S)


def test_a_host_that_came_back_is_waited_for_anew() -> None:
    failure_detector = FailureDetector()
    failure_detector.see({"one"})
    failure_detector.miss("one", 100.0)

    assert failure_detector.see({"one"}) == ["one"]
    assert failure_detector.see({"one"}) == []
    assert not failure_detector.miss("one", 100.0 + FENCE_S)
