from __future__ import annotations

from pathlib import Path

from actors.git.model import GitResponse, ReadStatus
from supervisor.git.queue import AnswerCache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def key(name: str) -> tuple[Path, ReadStatus]:
    return Path(name), ReadStatus()


def filled(size: int, *names: str, ttl_s: float = 60.0, clock: Clock | None = None) -> AnswerCache:
    cache = AnswerCache(size, ttl_s, clock or Clock())
    for name in names:
        cache.put(key(name), GitResponse(result={"of": name}))
    return cache


def kept(cache: AnswerCache, *names: str) -> list[bool]:
    return [cache.get(key(name)) is not None for name in names]


def test_what_was_kept_is_found_by_its_key() -> None:
    assert filled(2, "a", "b").get(key("a")) == GitResponse(result={"of": "a"})


def test_the_least_recently_used_goes_first_and_is_counted() -> None:
    cache = filled(2, "a", "b")
    cache.get(key("a"))

    assert cache.put(key("c"), GitResponse()) == 1
    assert cache.put(key("c"), GitResponse()) == 0
    assert kept(cache, "a", "b", "c") == [True, False, True]


def test_an_answer_ends_with_its_time_and_using_it_does_not_prolong_it() -> None:
    clock = Clock()
    cache = filled(5, "a", ttl_s=10.0, clock=clock)
    clock.now += 9.9
    assert kept(cache, "a") == [True]
    clock.now += 0.1
    assert kept(cache, "a") == [False]
    assert len(cache) == 0


def test_a_cache_without_room_or_without_time_keeps_nothing() -> None:
    assert kept(filled(0, "a"), "a") == [False]
    assert kept(filled(5, "a", ttl_s=0.0), "a") == [False]


def test_another_size_takes_effect_at_once_and_the_same_one_forgets_nothing() -> None:
    cache = filled(3, "a", "b", "c")
    cache.resize(3, 60.0)
    assert kept(cache, "a", "b", "c") == [True] * 3
    cache.resize(1, 60.0)
    for name in "ab":
        cache.put(key(name), GitResponse())
    assert kept(cache, "a", "b", "c") == [False, True, False]
