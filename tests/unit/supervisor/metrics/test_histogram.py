from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.metrics.metrics import Histogram

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
def test_it_comes_back_from_its_stored_form(durations: list[float]) -> None:
    made = of(durations)
    again = Histogram.from_plain(msgpack.unpackb(msgpack.packb(made.to_plain())))
    assert again.to_plain() == made.to_plain()
    assert again.count == made.count


def test_an_empty_one_has_zeros() -> None:
    assert (Histogram().average_s, Histogram().percentile_s(0.5)) == (0.0, 0.0)


def test_any_number_of_durations_takes_bounded_memory() -> None:
    made = of([step * 0.001 for step in range(100_000)] + [1e9])
    assert len(made.to_plain()[2]) <= 191
    assert made.percentile_s(1.0) == 1e9
