"""When a start counts as one that hangs, on machines of any speed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.stall import LOOKS, StallDetector

IDLE = 0.0075
"""Of a core: what an idle process of Ray takes."""


@dataclass
class Machine:
    """Gives the processes their time. ``look_s``: processor time of a look; ``every_s``: from one look to the next."""

    look_s: float = 0.01
    every_s: float = 0.1
    shares: dict[int, float] = field(default_factory=dict)
    used_s: dict[int, float] = field(default_factory=dict)
    own_s: float = 0.0

    def stall(self) -> StallDetector:
        return StallDetector(self._found, used_s=lambda pid: self.used_s.get(pid, 0.0), own_s=lambda: self.own_s)

    def _found(self) -> list[int]:
        self.own_s += self.look_s
        return list(self.shares)

    def pass_on(self) -> None:
        for pid, share in self.shares.items():
            self.used_s[pid] = self.used_s.get(pid, 0.0) + share * self.every_s


def looks_until_it_hangs(machine: Machine, stall: StallDetector, most: int = 3 * LOOKS) -> int:
    """``most`` when it does not."""
    for look in range(most):
        machine.pass_on()
        if stall.hangs():
            return look
    return most


@pytest.mark.parametrize("shares", [{}, {1: 0.0}, {1: IDLE, 2: IDLE, 3: IDLE}])
def test_a_start_in_which_nobody_works_hangs(shares: dict[int, float]) -> None:
    machine = Machine(shares=shares)
    assert LOOKS - 1 <= looks_until_it_hangs(machine, machine.stall()) <= LOOKS + 1


def test_a_start_in_which_one_of_many_works_does_not_hang() -> None:
    machine = Machine(shares={1: IDLE, 2: 0.2, 3: IDLE})
    assert looks_until_it_hangs(machine, machine.stall()) == 3 * LOOKS


@pytest.mark.parametrize("runnable", [30, 100, 1000])
def test_a_start_on_two_cores_that_many_others_want_does_not_hang(runnable: int) -> None:
    share = 2 / runnable
    machine = Machine(every_s=0.1 + 0.01 / share, shares={1: share, 2: IDLE / runnable})
    assert looks_until_it_hangs(machine, machine.stall()) == 3 * LOOKS


def test_whoever_comes_or_goes_is_a_sign_of_life() -> None:
    machine = Machine(shares={1: 0.0})
    stall = machine.stall()
    for change in ({1: 0.0, 2: 0.0}, {2: 0.0}, {3: 0.0}):
        assert looks_until_it_hangs(machine, stall, LOOKS - 2) == LOOKS - 2
        machine.shares = change
    assert looks_until_it_hangs(machine, stall) < 2 * LOOKS


def test_where_the_kernel_does_not_tell_who_works_nobody_is_taken_for_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, exists = Path.read_bytes, Path.exists

    def read_others(path: Path) -> bytes:
        if path.name == "schedstat":
            raise FileNotFoundError
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_others)
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "schedstat" and exists(path))
    stall = StallDetector(lambda: [os.getpid()])
    assert not any(stall.hangs() for _ in range(LOOKS + 1))
