"""Private files, and the lock by which only one actor types into an instance.

Files that only their user may read, written whole or not at all.

The home, the runtime and the host write through here; every other file below the home is made by the module that owns
it, with the same modes.

Only one actor of an instance types: whoever holds the lock in the instance's directory.

An actor that lost its raylet may live on for a while beside its successor. The lock is a ``flock``, so the kernel
releases it with the last process that has it open. Where the holder starts tmux's own program, this inherits it (see
``ProcessClient``): one that outlives a killed actor keeps the successor out until it can no longer type.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from actors.errors import SettingsError, UnavailableError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, 0600. Raises ``SettingsError``; then ``path`` is as it was before."""
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a file that was renamed before its content is on disk may be empty after a crash
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise SettingsError(f"{path} cannot be written: {in_words(error)}") from error


def append_private(path: Path, data: bytes) -> None:
    """Appends to the file, which is made 0600 when there is none. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)


def in_words(error: OSError) -> str:
    """Why it cannot be written and what to do about it."""
    if error.errno in _FULL:
        return f"{error.strerror}. Free disk space, then try again; what was there before is unharmed."
    return f"{error.strerror}. Make it writable, or set PHALANX_HOME elsewhere."


LOCK_NAME = "typist.lock"
_POLL_S = 0.05


class TypingLock:
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
