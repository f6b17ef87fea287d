"""Private files that are written whole or not at all, and locks between processes.

Every process of a team writes its files with this module. Standard library only: instance processes load it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from actors.errors import SettingsError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_POLL_S = 0.05
UNFINISHED = ".phalanx-new"
"""Suffix of a file that is being written. It must not clash with a name of the user's."""


def replace_file(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = False) -> None:
    """Replaces the file in one step. Raises ``OSError``; then ``path`` is as it was before, unless ``durable`` failed
    for its directory.

    ``durable``: content and name are on the disk when it returns, and a crash of the machine leaves the old file or the
    new one. Several threads and processes may replace the same file; the last one wins.
    """
    descriptor, unfinished = _open_alone(path)
    with os.fdopen(descriptor, "wb") as file:
        try:
            os.ftruncate(descriptor, 0)
            os.fchmod(descriptor, mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if durable:
                os.fsync(descriptor)
                rename_durably(unfinished, path)
            else:
                unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def rename_durably(new: Path, path: Path) -> None:
    """Gives a file whose content is on the disk another name in its directory. Raises ``OSError``."""
    new.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_alone(path: Path) -> tuple[int, Path]:
    """A file beside ``path`` that no other writer has, and its path. Takes over what a killed writer has left.

    Never waits for another writer, which may be stopped.
    """
    name, number = path.name + UNFINISHED, 0
    while True:
        unfinished = path.with_name(f"{name}{number or ''}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with _closed_unless_kept(descriptor) as kept:
            if not try_flock(descriptor):
                number += 1
                continue
            with suppress(FileNotFoundError):  # another writer has renamed it
                if os.path.samestat(os.fstat(descriptor), unfinished.lstat()):
                    kept.pop_all()
                    return descriptor, unfinished


def _closed_unless_kept(descriptor: int) -> ExitStack:
    """Closes the file in the end, however that comes, unless ``pop_all`` was called."""
    closing = ExitStack()
    closing.callback(os.close, descriptor)
    return closing


def write_private(path: Path, text: str) -> None:
    """``replace_file``, 0600 and durable. Raises ``SettingsError``, which says what to do."""
    try:
        replace_file(path, text, durable=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {in_words(error)}") from error


def append_private(path: Path, data: bytes) -> None:
    """Appends to the file, created 0600 if absent. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)


def in_words(error: OSError) -> str:
    """Why a file cannot be written and what to do about it."""
    if error.errno in _FULL:
        return f"{error.strerror}. Free disk space, then try again; what was there before is unharmed."
    return f"{error.strerror}. Make it writable, or set PHALANX_HOME elsewhere."


def try_flock(descriptor: int, *, shared: bool = False) -> bool:
    """Locks the open file if that is possible at once; returns whether."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class FileLock:
    """A lock between processes on a file, created 0600 if absent, or on an existing directory.

    The kernel frees the lock when the last process that has it open ends, however it ends. A child inherits it only
    through ``descriptor``. The file is never removed: two processes could then lock two files of the same
    name. All methods raise ``OSError`` when the file cannot be opened.
    """

    def __init__(self, path: Path, *, is_directory: bool = False) -> None:
        self._path = path
        self._is_directory = is_directory
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file that holds the lock; only while it is held."""
        if self._descriptor is None:
            raise RuntimeError(f"the lock {self._path} is not held")
        return self._descriptor

    def try_acquire(self) -> bool:
        """Takes the lock if it is free; returns whether this object holds it now."""
        if self._descriptor is not None:
            return True
        descriptor = self._open()
        with _closed_unless_kept(descriptor) as kept:
            if try_flock(descriptor):
                kept.pop_all()
                self._descriptor = descriptor
        return self._descriptor is not None

    def acquire(self, timeout_s: float) -> bool:
        """Waits for the lock and blocks the thread; False when another keeps it for longer than ``timeout_s``."""
        for pause_s in self._tries(timeout_s):
            time.sleep(pause_s)
        return self._descriptor is not None

    async def acquire_async(self, timeout_s: float) -> bool:
        """``acquire`` in an event loop."""
        for pause_s in self._tries(timeout_s):
            await asyncio.sleep(pause_s)
        return self._descriptor is not None

    def _tries(self, timeout_s: float) -> Iterator[float]:
        """The pauses between the tries, until the lock is held or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not self.try_acquire() and time.monotonic() < deadline:
            yield _POLL_S

    def release(self) -> None:
        """No-op when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._is_directory:
            return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        with _closed_unless_kept(descriptor) as kept:
            os.fchmod(descriptor, 0o600)
            kept.pop_all()
        return descriptor
