"""Each promise has a line of its own, and whatever a check finds stands in one of them."""

from __future__ import annotations

import inspect
import re
from collections import Counter

import pytest

from tests.chaos import checks, play, verdict
from tests.chaos.promises import PROMISES, Put, table, word_of
from tests.chaos.record import PAGE

_BEGINNING = re.compile(r'f?"([a-z][a-z ]*): ')


def test_every_check_belongs_to_one_promise() -> None:
    source = "".join(inspect.getsource(module) for module in (checks, verdict, play))
    begun = set(_BEGINNING.findall(source)) - {"chaos", "a member could not be spawned"}
    counted = Counter(word for promise in PROMISES for word in promise.words)
    assert begun == counted.keys()
    assert set(counted.values()) == {1}


def test_the_promises_are_those_of_the_page() -> None:
    told = re.findall(r"^(\d\. )\*\*(.*?)\.\*\*", PAGE.read_text(), re.MULTILINE)
    assert ["".join(each) for each in told] == [promise.title for promise in PROMISES]


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        ("seed 7: lost: message 3 of a", "lost"),
        ("seed 7: … and 12 more that begin with doubled", "doubled"),
        ("seed 7: left behind: 12 sleep", "left behind"),
        ("seed 7: submitted: spec_0_0_1 got what a person had typed", "submitted"),
    ],
)
def test_a_problem_is_known_by_how_it_begins(problem: str, word: str) -> None:
    assert word_of(problem) == word


def test_what_was_found_stands_beside_its_promise_and_nothing_is_left_out() -> None:
    put = Put(rounds=2, accepted=4000, agents=40, looks=900, kills=80, while_typing=50, redis_away=9)
    put.recovered_s += [2.0, 10.0]
    lines = table(put, ["seed 1: lost: a", "seed 1: lost: b", "seed 2: strange: c"])
    assert lines[2].endswith("| 4000 accepted messages, 80 kills, 50 while typing | **2** |")
    assert [line.endswith("| nothing |") for line in lines[3:9]] == [True] * 6
    assert "well 6.0 s (p50), 10.0 s (most) after the last kill" in lines[5]
    assert lines[9:] == ["| anything else | | **1** |"]
    assert len(table(put, [])) == 9
