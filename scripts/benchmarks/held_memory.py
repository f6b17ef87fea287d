"""Memory that the machine already has, for what a part of the bench starts: it has to be as dear for all.

The host of a virtual machine may give memory when it is first used, which takes up to ten seconds of CPU a GB, and take
back what is free. So whoever is measured first would pay for those after it. While ``HeldMemory`` is entered, a process
of its own uses what is free, but for ``_FREE_MB``, gives it up as others need it, and takes what they free.
"""

from __future__ import annotations

import asyncio
import mmap
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_FREE_MB = 1500.0
_CHUNK_MB = 128
_LOOK_S = 0.1
_PATIENCE_S = 600.0
_LEAST_MB = _FREE_MB + 2 * _CHUNK_MB
"""Of more free memory than this it takes a chunk. What it has just given up is less."""


class HeldMemory:
    """A context manager; the process begins with it and ends with it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", __name__])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    async def until_all_is_held(self) -> None:
        """Returns when the process has taken all that it takes."""
        async with asyncio.timeout(_PATIENCE_S):
            while _free_mb() > _LEAST_MB:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(_LOOK_S)

    @property
    def used_by_others_gb(self) -> float:
        memory = psutil.virtual_memory()
        return float(memory.total - memory.available - psutil.Process(self._process.pid).memory_info().rss) / 1e9


def _free_mb() -> float:
    return float(psutil.virtual_memory().free) / 2**20


def _hold() -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")  # before anybody else is killed for it
    held: list[mmap.mmap] = []
    while True:
        if held and _free_mb() < _FREE_MB:
            held.pop().close()
        elif _free_mb() > _LEAST_MB:
            held.append(_chunk())
        else:
            time.sleep(_LOOK_S)


def _chunk() -> mmap.mmap:
    """Memory of which each page was written to."""
    chunk = mmap.mmap(-1, _CHUNK_MB << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(chunk), mmap.PAGESIZE):
        chunk[at] = 1
    return chunk


if __name__ == "__main__":
    _hold()
