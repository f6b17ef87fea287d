"""Tells who waits for a screen to change that its program has drawn: nobody need look at one that stands still.

Used by ``Pane``. The kernel's inotify sees what a program writes to its terminal as it sees what is written to a file:
no process, no client of tmux. A user has only some hundred inotifies, so one is held while something is waited for and
no longer. Standard library only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from actors.inotify import WRITTEN, Inotify


@contextmanager
def told_of_drawing(terminal: str, tell: Callable[[], None]) -> Iterator[bool]:
    """Inside, ``tell`` is called in the running event loop whenever something was written to ``terminal``.

    Yields False where that cannot be told: then ``tell`` is never called.
    """
    inotify = _watching(terminal)
    if inotify is None:
        yield False
        return

    def hear() -> None:
        for _ in inotify.events():
            pass
        tell()

    loop = asyncio.get_running_loop()
    loop.add_reader(inotify.fileno(), hear)
    try:
        yield True
    finally:
        loop.remove_reader(inotify.fileno())
        # The kernel takes some 10 ms for it.
        loop.run_in_executor(None, inotify.close)


def _watching(terminal: str) -> Inotify | None:
    inotify = Inotify.open() if terminal else None
    if inotify is None:
        return None
    with suppress(OSError):
        inotify.add(terminal, WRITTEN)
        return inotify
    inotify.close()
    return None
