"""The lock on a worktree's directory: who holds it is the only one that makes, saves or removes it.

It is an ``flock`` on the directory itself, so it is atomic between threads, processes and homes, ends with its holder,
and goes with the directory when that is renamed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.site import KeptError

PATIENCE_S = 60.0
_POLL_S = 0.02


@contextmanager
def claimed_new(target: Path) -> Iterator[int | None]:
    """The descriptor that holds the lock on ``target``, which is made if need be; None when somebody else has it."""
    lock = _make_and_open(target)
    try:
        locked = lock is not None and _lock(lock, target)
        try:
            yield lock if locked else None
        finally:
            if locked:
                with suppress(OSError):
                    target.rmdir()
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def claimed_existing(target: Path) -> Iterator[bool]:
    """Waits for the lock; False when ``target`` is not there (any more). Raises ``KeptError`` when it stays taken."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (lock := _open_existing(target)) is not None:
        try:
            if _lock(lock, target):
                yield True
                return
        finally:
            os.close(lock)
        if time.monotonic() > deadline_s:
            raise KeptError("another call of Phalanx is at work in it")
        time.sleep(_POLL_S)
    yield False


def is_claimed(target: Path) -> bool:
    lock = _open(target)
    if lock is None:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _make_and_open(target: Path) -> int | None:
    try:
        target.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        return None
    except OSError as error:
        raise WorkspaceError(f"The directory {target} cannot be made: {error.strerror}. Set it right.") from error
    return _open(target)


def _open(target: Path) -> int | None:
    try:
        return _open_existing(target)
    except KeptError:
        return None


def _open_existing(target: Path) -> int | None:
    try:
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeptError(f"it cannot be opened ({error.strerror})") from error


def _lock(descriptor: int, target: Path) -> bool:
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), target.lstat())
    return False
