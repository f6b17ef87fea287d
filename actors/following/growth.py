"""Tells who waits for a file to grow that another program has written to it, also when it is not there yet.

The kernel's inotify tells. A user has only some hundred of them, so one is held while something is waited for and no
longer. Standard library only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.inotify import MOVED, WRITTEN, Inotify


class Growth:
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
