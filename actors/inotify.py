"""The kernel's inotify: callbacks in an event loop when another program writes to a file.

``actors.tmux.pane`` watches terminals with it, ``GrowthWatch`` follows a transcript. A user has only some hundred
inotifies, so one is held only while somebody waits, and every caller must also work without one. Standard library only:
instance processes load this module.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self

WRITTEN = 0x2
"""IN_MODIFY."""
_NAMES_CHANGED = 0x40 | 0x80 | 0x100 | 0x200
"""IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE and IN_DELETE: a name in a directory has come or gone."""
_READ_BYTES = 1 << 16


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Inotify:
    def __init__(self, descriptor: int) -> None:
        """Use ``open``."""
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> Self | None:
        """None when the kernel gives none, for example because the user has too many."""
        descriptor = _libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        return cls(descriptor) if descriptor >= 0 else None

    def add(self, path: str, mask: int) -> None:
        """Watches ``path`` for the events in ``mask``. Raises ``OSError``."""
        if _libc().inotify_add_watch(self._descriptor, os.fsencode(path), mask) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)

    def start(self, notify: Callable[[], None]) -> None:
        """Calls ``notify`` in the running event loop after each batch of events, until ``stop``."""

        def on_readable() -> None:
            with suppress(BlockingIOError):
                while os.read(self._descriptor, _READ_BYTES):
                    pass
            notify()

        asyncio.get_running_loop().add_reader(self._descriptor, on_readable)

    def stop(self) -> None:
        """Ends ``start`` and closes, in the loop that started it. The kernel takes about 10 ms, hence a thread."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        loop.run_in_executor(None, self.close)

    def close(self) -> None:
        """Ends all watches. To be called at most once; without a call the end of the object closes it."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            self.close()


class GrowthWatch:
    """Calls ``notify`` in the running event loop when the followed file was written to, until ``close``.

    It may also call for other changes, and never calls where the kernel gives no inotify. The file need not exist yet.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._path: Path | None = None
        self._watched: Path | None = None
        self._inotify: Inotify | None = None

    def close(self) -> None:
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            inotify.stop()

    def follow(self, path: Path | None) -> None:
        """Follows this file from now on; None, as long as it is not known, changes nothing."""
        if path is None or path == self._path:
            return
        self._path = path
        if self._inotify is None:
            self._inotify = Inotify.open()
            if self._inotify is not None:
                self._inotify.start(self._on_event)
        self._watch()

    def _watch(self) -> None:
        """Watches the file, or the deepest existing directory on its path."""
        if self._inotify is None or self._path is None:
            return
        for place in (self._path, *self._path.parents):
            if place == self._watched:
                return
            try:
                self._inotify.add(str(place), WRITTEN | _NAMES_CHANGED)
            except OSError:
                continue
            self._watched = place
            return

    def _on_event(self) -> None:
        before = None
        # Directories may have been made below the watched one before it was watched.
        while self._watched not in (self._path, before):
            before = self._watched
            self._watch()
        self._notify()
