"""How long an operation waits for the lock of another git.

Agents run git in the same trees at any time. While locks change hands, others are at work and it pays to wait; one that
stays the same may be that of a git that has died.
"""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

SAME_LOCK_S = 3.0
OTHERS_AT_WORK_S = 20.0
_PAUSES_S = (0.02, 0.2)
_LOCK = re.compile(r"'([^'\n]+\.lock)'")


class Waiting:
    """For one operation: asked after each try that met a lock."""

    def __init__(self) -> None:
        self._began = self._since = time.monotonic()
        self._lock: tuple[int, int] | None = None

    def goes_on(self, error: str) -> bool:
        """Pauses before the next try; False, at once, when no further one pays. ``error``: what git said."""
        now = time.monotonic()
        lock = _look_at(error)
        if lock != self._lock:
            self._lock, self._since = lock, now
        if now - self._since > SAME_LOCK_S or now - self._began > OTHERS_AT_WORK_S:
            return False
        time.sleep(random.uniform(*_PAUSES_S))  # noqa: S311  # spreads those who wait
        return True


def lock_in(error: str) -> str | None:
    """The lock's file, if git names it."""
    named = _LOCK.search(error)
    return named[1] if named else None


def _look_at(error: str) -> tuple[int, int] | None:
    """Which file the lock is; None when it is gone or not named."""
    path = lock_in(error)
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns
