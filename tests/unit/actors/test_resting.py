from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.resting import REST_DIRECTORY, begin_to_rest, forget, knock

_PROGRAM = """
import sys, threading, time
from actors import resting
resting.FIRST_S, resting.AWAKE_S, resting.REST_S = 0.01, 0.05, 600.0
passes = 0
def tell():
    for line in sys.stdin:
        print(passes, flush=True)
threading.Thread(target=tell, daemon=True).start()
resting.begin_to_rest(lambda: "instance-a")
while True:
    time.sleep(0.001)
    passes += 1
"""
_SOON_S = 20.0


class Process:
    """Its main thread passes once a millisecond, unless it rests; ``passes`` says how often it has."""

    def __init__(self, directory: Path) -> None:
        environment = {**os.environ, REST_DIRECTORY: str(directory)}
        command = [sys.executable, "-c", _PROGRAM]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def passes(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        return int(self._process.stdout.readline())

    def rests(self) -> bool:
        before = self.passes()
        time.sleep(0.1)  # many passes of one that does not rest
        return self.passes() == before

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def begin(short_tmp: Path) -> Iterator[Callable[[], Process]]:
    begun: list[Process] = []

    def make() -> Process:
        begun.append(Process(short_tmp))
        return begun[-1]

    yield make
    for process in begun:
        process.end()


@pytest.fixture(autouse=True)
def directory(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(REST_DIRECTORY, str(short_tmp))
    return short_tmp


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SOON_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def wakes(process: Process) -> bool:
    before = process.passes()

    def has_passed() -> bool:
        knock("instance-a")
        return process.passes() > before

    return soon(has_passed)


def test_a_main_thread_rests_until_somebody_knocks_and_then_again(begin: Callable[[], Process]) -> None:
    process = begin()

    for _ in range(3):
        assert soon(process.rests)
        assert wakes(process)


def test_many_knocks_wake_it_once(begin: Callable[[], Process]) -> None:
    process = begin()
    assert soon(process.rests)

    for _ in range(100):
        knock("instance-a")

    assert soon(process.rests)


def test_a_knock_at_another_actor_leaves_it_at_rest(begin: Callable[[], Process]) -> None:
    process = begin()
    assert soon(process.rests)

    knock("instance-b")

    assert process.rests()


def test_an_actor_that_was_killed_is_followed_by_one_that_hears_the_same_knock(begin: Callable[[], Process]) -> None:
    first = begin()
    assert soon(first.rests)
    first.end()
    knock("instance-a")

    second = begin()

    assert soon(second.rests)
    assert wakes(second)


def test_of_an_actor_that_was_ended_for_good_nothing_is_left(begin: Callable[[], Process], directory: Path) -> None:
    process = begin()
    assert soon(process.rests)
    process.end()

    forget("instance-a")
    forget("instance-b")

    assert list(directory.iterdir()) == []


def test_only_the_user_can_knock(begin: Callable[[], Process], directory: Path) -> None:
    assert soon(begin().rests)

    assert stat.S_IMODE((directory / "instance-a").stat().st_mode) == 0o600


def test_without_a_directory_nothing_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REST_DIRECTORY)
    monkeypatch.setattr(signal, "signal", pytest.fail)

    begin_to_rest(lambda: "instance-a")
    knock("instance-a")
    forget("instance-a")
