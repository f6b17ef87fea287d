"""Only one actor of an instance types: whoever holds the lock in the instance's directory.

An actor that lost its raylet may live on for a while beside its successor. The lock is a ``flock``, so the kernel
releases it with the last process that has it open. Where the holder starts tmux's own program, this inherits it (see
``ProcessClient``): one that outlives a killed actor keeps the successor out until it can no longer type.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

from actors.errors import UnavailableError

LOCK_NAME = "typist.lock"
_POLL_S = 0.05


class Typist:
    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file that holds the lock; only while it is held."""
        if self._descriptor is None:
            raise RuntimeError("the lock of the typist is not held")
        return self._descriptor

    async def acquire(self, timeout_s: float) -> None:
        """Takes the lock; no-op when it is held. Raises ``UnavailableError`` when another keeps it for so long."""
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _lock(descriptor, timeout_s)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


async def _lock(descriptor: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise UnavailableError("Another actor still holds this instance: try again.") from None
            await asyncio.sleep(_POLL_S)
        else:
            return
