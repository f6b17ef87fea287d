"""How long a piece of work may still take, in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

import pytest

from mcp_entry.progress import Progress, about


class Work:
    """Work whose members are done at given times, and what is said of it meanwhile."""

    def __init__(self, done_at: Sequence[float], *, alike: bool = True, total: int = 0) -> None:
        self.now = 0.0
        self._done_at = sorted(done_at)
        self._total = total or len(done_at)
        self.progress = Progress(alike=alike, now=lambda: self.now)

    def until(self, now: float) -> float | None:
        """The time left, as it is told then."""
        for number, at in enumerate(self._done_at, 1):
            if self.now < at <= now:
                self.now = at
                self.progress(number, self._total, f"member {number}")
        self.now = now
        return self.progress.left_s

    def told(self, step_s: float = 0.5) -> list[tuple[float, float]]:
        """Each time left that is told on the way, and the true one."""
        end = self._done_at[-1]
        times = [step_s * number for number in range(1, int(end / step_s))]
        return [(left, end - at) for at in times if (left := self.until(at)) is not None]


def side_by_side(count: int, at_once: int, each_s: float, *, by: float = 0.1) -> list[float]:
    """When each is done of so many, of which some run at once."""
    chance = random.Random(count)  # noqa: S311 - the same in each run
    free = [0.0] * at_once
    done = []
    for _ in range(count):
        at = heapq.heappop(free) + each_s * chance.uniform(1 - by, 1 + by)
        heapq.heappush(free, at)
        done.append(at)
    return done


def test_one_after_another_is_told_exactly_once_four_are_done() -> None:
    work = Work([3.0 * number for number in range(1, 26)])
    assert work.until(11.9) is None
    assert work.until(12.0) == pytest.approx(63)
    assert work.until(13.0) == pytest.approx(62)


@pytest.mark.parametrize(("count", "at_once", "each_s"), [(25, 5, 3.5), (50, 5, 3.5), (100, 10, 5.0), (50, 1, 2.0)])
def test_what_is_told_of_many_that_start_side_by_side_is_near_the_truth(
    count: int, at_once: int, each_s: float
) -> None:
    told = Work(side_by_side(count, at_once, each_s)).told()
    near = [left for left, true in told if abs(left - true) <= max(0.5 * true, each_s)]
    assert len(told) > 10
    assert len(near) >= 0.9 * len(told)


def test_the_first_that_come_in_together_tell_nothing() -> None:
    work = Work([4.0, 4.1, 4.2, 4.3, 4.4, 8.0], total=50)
    assert [work.until(at) for at in (4.3, 4.4, 6.0, 7.9)] == [None] * 4


def test_nothing_is_told_of_all_that_run_at_once() -> None:
    assert Work([8 + 0.16 * number for number in range(50)]).told() == []


def test_nothing_is_told_of_members_that_are_not_alike() -> None:
    assert Work([3.0 * number for number in range(1, 26)], alike=False).told() == []


def test_nothing_is_told_of_what_stands_still() -> None:
    work = Work([2.0, 4.0, 6.0, 8.0], total=6)
    assert work.until(8.0) == pytest.approx(4)
    assert work.until(12.1) is None


def test_nothing_is_told_of_what_is_done_at_once_nor_at_the_end() -> None:
    quick = Work([0.1 * number for number in range(1, 11)])
    assert (quick.until(0.8), quick.until(1.0)) == (None, None)


def test_what_is_found_done_after_a_lost_connection_is_not_taken_for_the_pace() -> None:
    work = Work([2.0 * number for number in range(1, 41)], total=60)
    assert work.until(80.0) == pytest.approx(40)
    work.progress(0, 0, "the team is away")
    assert (work.progress.left_s, work.progress.total) == (None, 0)
    work.now = 100.0
    for number in range(1, 41):
        work.progress(number, 60, "found")
    assert work.progress.left_s is None
    work.now = 104.0
    work.progress(42, 60, "another")
    assert work.progress.left_s is None


def test_what_came_before_the_counted_work_does_not_count_for_its_pace() -> None:
    work = Work([], total=0)
    work.progress(0, 0, "starting Ray")
    work.now = 60.0
    for number in range(6):
        work.now = 60.0 + 2 * number
        work.progress(number, 20, f"member {number}")
    assert work.progress.left_s == pytest.approx(30)
    assert work.progress.lasts_s == 70.0


def test_one_of_one_is_not_counted_and_what_goes_on_is_known() -> None:
    work = Work([])
    work.progress(0, 1, "waits for memory")
    assert (work.progress.total, work.progress.what) == (0, "waits for memory")


def test_how_long_it_lasts_counts_from_the_beginning_whatever_begins_again() -> None:
    work = Work([1.0, 2.0])
    work.until(2.0)
    work.progress(0, 0, "the team is away")
    work.now = 30.0
    assert work.progress.lasts_s == 30.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "a few seconds"),
        (5, "a few seconds"),
        (23, "about 25 s"),
        (58, "about 60 s"),
        (61, "about 1 min"),
        (600, "about 10 min"),
        (5400, "about 1.5 h"),
    ],
)
def test_a_time_is_told_no_more_exactly_than_it_is_known(seconds: float, words: str) -> None:
    assert about(seconds) == words
