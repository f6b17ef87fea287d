"""Tells a start that hangs from one on a slow machine.

A Ray that runs may wait for a process that was killed, for a minute or for ever. No clock tells that from a machine
with too much to do: there, a start that takes two seconds takes a minute. But whoever works gets processor time, as the
one who looks does: on a machine with much load both get little. So a start hangs when it got next to none in look after
look, compared with what the looks themselves took. Standard library only; every look blocks for some milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

LOOKS = 60
"""In a row; the caller looks ten times a second at most, so 6 s on a machine at rest: more than a start waits for Redis
or for the lock of the store."""
_SHARE = 0.25
"""Of the processor time of a look, which reads the state of all processes of the machine and takes 6 ms or more. An
idle process of Ray takes 0.8 ms between two looks; one at work takes about as much as the look or more, since both
compete for the same cores."""
_NANOSECONDS = 1e9


class StallDetector:
    """Whether processes get on with what they do. One process that works is enough."""

    def __init__(
        self,
        find: Callable[[], Iterable[int]],
        *,
        used_s: Callable[[int], float] | None = None,
        own_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """``find``: the ids of the processes that the start consists of at the time; it looks through all processes.
        ``used_s``: processor time of one; ``own_s``: of the thread that looks."""
        self._find = find
        self._used_s = used_s or processor_time_s
        self._own_s = own_s
        self._before: Mapping[int, float] = {}
        self._idle_looks = 0

    def hangs(self) -> bool:
        """Looks once; whether nothing has happened in all of the last ``LOOKS``."""
        begun_s = self._own_s()
        now = {pid: self._used_s(pid) for pid in self._find()}
        enough_s = _SHARE * (self._own_s() - begun_s)
        stayed = now.keys() == self._before.keys()
        idle = stayed and all(used_s - self._before[pid] <= enough_s for pid, used_s in now.items())
        self._idle_looks = self._idle_looks + 1 if idle else 0
        self._before = now
        return self._idle_looks >= LOOKS


def processor_time_s(pid: int) -> float:
    """Of all threads that live, 0 when it has ended. A process that waits for the disk is taken for one that works all
    the time, and so is each where the kernel does not tell."""
    directory = Path(f"/proc/{pid}")
    with suppress(OSError, ValueError, IndexError):
        waits = (directory / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"D"
        if waits or not (directory / "schedstat").exists():
            return time.monotonic()
        threads = (directory / "task").iterdir()
        return sum(int((each / "schedstat").read_bytes().split()[0]) for each in threads) / _NANOSECONDS
    return 0.0
