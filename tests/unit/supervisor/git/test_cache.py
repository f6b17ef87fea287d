from __future__ import annotations

from actors.git.model import Fingerprint
from supervisor.git.scheduling import AnswerCache

PROOF = Fingerprint(digest=b"1", watched=frozenset())


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def filled(size: int, *keys: str) -> AnswerCache:
    cache = AnswerCache(size, 60.0, Clock())
    for key in keys:
        cache.put(key, {"of": key}, PROOF)
    return cache


def test_what_was_kept_is_found_by_its_key() -> None:
    kept = filled(2, "a", "b").get("a")

    assert kept is not None
    assert kept.result == {"of": "a"}


def test_the_least_recently_used_goes_first() -> None:
    cache = filled(2, "a", "b")
    cache.get("a")
    cache.put("c", {}, PROOF)

    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]


def test_an_answer_ends_with_its_time_and_using_it_does_not_prolong_it() -> None:
    clock = Clock()
    cache = AnswerCache(5, 10.0, clock)
    cache.put("a", {}, PROOF)
    clock.now += 9.9
    assert cache.get("a") is not None
    clock.now += 0.1
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_cache_without_room_or_without_time_keeps_nothing() -> None:
    assert filled(0, "a").get("a") is None
    cache = AnswerCache(5, 0.0, Clock())
    cache.put("a", {}, PROOF)
    assert cache.get("a") is None


def test_a_smaller_size_takes_effect_at_once() -> None:
    cache = filled(3, "a", "b", "c")
    cache.resize(1, 60.0)

    assert [cache.get(key) is not None for key in "abc"] == [False, False, True]
