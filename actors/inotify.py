"""The kernel's inotify, and waiting for a file to grow by it.

The kernel's inotify: watches on files and directories, and the events that came so far.

Used by the guards over working trees and by who waits for a program to write to its terminal. Standard library only.

Tells who waits for a file to grow that another program has written to it, also when it is not there yet.

The kernel's inotify tells. A user has only some hundred of them, so one is held while something is waited for and no
longer. Standard library only.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_ONLY_DIRECTORY, _DONT_FOLLOW, _IS_DIRECTORY = 0x1000000, 0x2000000, 0x40000000
MOVED = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
"""A name has come or gone."""
GONE = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED
"""What was watched is not there any more."""
IN_DIRECTORY = MOVED | _MODIFY | _ATTRIB | _CLOSE_WRITE | _DELETE_SELF | _MOVE_SELF | _ONLY_DIRECTORY | _DONT_FOLLOW
"""Whatever happens to a directory and the files in it. ``_CLOSE_WRITE`` also for files that are written as memory,
which no other event tells."""
WRITTEN = _MODIFY
_HEAD = struct.Struct("iIII")
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class InotifyEvent:
    watch: int
    mask: int
    name: str

    @property
    def is_directory(self) -> bool:
        return bool(self.mask & _IS_DIRECTORY)

    @property
    def is_overflow(self) -> bool:
        """Events were lost."""
        return bool(self.mask & _OVERFLOW)


class Inotify:
    def __init__(self, descriptor: int, library: ctypes.CDLL) -> None:
        """Use ``open``."""
        self._descriptor = descriptor
        self._library = library

    @classmethod
    def open(cls) -> Self | None:
        """None when the kernel gives none, for example because the user has too many."""
        library = ctypes.CDLL(None, use_errno=True)
        descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        return cls(descriptor, library) if descriptor >= 0 else None

    def close(self) -> None:
        """Ends all watches. To be called at most once; who does not call it leaves it to the end of the object."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            self.close()

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._descriptor

    def add(self, path: str, wanted: int) -> int:
        """The number of the watch. Raises ``OSError``."""
        watch = self._library.inotify_add_watch(self._descriptor, os.fsencode(path), wanted)
        if watch < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
        return int(watch)

    def remove(self, watch: int) -> None:
        """No-op when it is gone."""
        self._library.inotify_rm_watch(self._descriptor, watch)

    def events(self) -> Iterator[InotifyEvent]:
        """All that have come so far."""
        with suppress(BlockingIOError):
            while told := os.read(self._descriptor, _READ_BYTES):
                at = 0
                while at < len(told):
                    watch, mask, _, length = _HEAD.unpack_from(told, at)
                    at += _HEAD.size
                    yield InotifyEvent(watch, mask, os.fsdecode(told[at : at + length].rstrip(b"\0")))
                    at += length


class GrowthWatch:
    """A context: inside, ``tell`` is called in the running event loop for what was written to the file that is
    followed, and perhaps for more. Where the kernel gives no inotify it is never called: nothing may rely on it alone.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._path: Path | None = None
        self._watched: Path | None = None
        self._inotify: Inotify | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(inotify.fileno())
            # The kernel takes some 10 ms for it.
            loop.run_in_executor(None, inotify.close)

    def follow(self, path: Path | None) -> None:
        """From now on this file; None while it is not known."""
        if path is None or path == self._path:
            return
        self._path = path
        if self._inotify is None:
            self._inotify = Inotify.open()
            if self._inotify is not None:
                asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._hear)
        self._watch()

    def _watch(self) -> None:
        """Watches the file, or the deepest directory on the way to it that is there."""
        if self._inotify is None or self._path is None:
            return
        for place in (self._path, *self._path.parents):
            if place == self._watched:
                return
            try:
                self._inotify.add(str(place), WRITTEN | MOVED)
            except OSError:
                continue
            self._watched = place
            return

    def _hear(self) -> None:
        if self._inotify is not None:
            for _ in self._inotify.events():
                pass
        if self._watched != self._path:
            before = None
            while before != self._watched:  # what was made before its directory was watched
                before = self._watched
                self._watch()
        self._tell()
