"""Guards over working trees: the kernel tells (inotify) whether anything in one has changed since an answer was made.

A glance at every file costs more the larger a tree is; a guard costs the same for any. It is used only where it sees
changes as they are made: on local file systems, in trees without files that have further names elsewhere, mounts or
repositories inside. What git ignores is not guarded. A token stands for a stretch of time without a change. What is not
seen: a file that is changed by a further name that it got later outside of the tree, or by a program that writes it as
memory, as long as it is open; therefore refs and index are never left to a guard. Several threads may use one
``TreeWatcher``.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from actors.inotify import GONE, IN_DIRECTORY, MOVED, Inotify, InotifyEvent

_MOST_DIRECTORIES = 2000
"""Of one tree."""
_MOST_WATCHES = 8000
"""Of all: users have a limit, and other programs need some, too."""
_LOCAL = {
    "ext2, ext3 and ext4": 0xEF53,
    "xfs": 0x58465342,
    "btrfs": 0x9123683E,
    "f2fs": 0xF2F52010,
    "tmpfs": 0x01021994,
    "overlay": 0x794C7630,
}
"""File systems by the number that the kernel has for each. Nobody changes files of these behind this kernel's back."""
_STATFS_BYTES = 512
"""More than the kernel tells of a file system."""


class _UnwatchableError(Exception):
    """Changes in this tree could be missed."""


@dataclass(eq=False, slots=True)
class _WatchedTree:
    top: str
    ignored: frozenset[str]
    token: int
    watches: list[int] = field(default_factory=list)


class TreeWatcher:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inotify = Inotify.open()
        self._tokens = itertools.count(1)
        self._tree_watcher: OrderedDict[str, _WatchedTree] = OrderedDict()
        self._watched: dict[int, tuple[_WatchedTree, str]] = {}

    def begin(self, top: str, ignored: frozenset[str]) -> int | None:
        """A token for the tree as it is from now on; None when it cannot be guarded. ``ignored``: paths in it, as
        ``git status`` tells them."""
        with self._lock:
            self._take_events()
            guard = self._tree_watcher.get(top)
            if guard is not None and guard.ignored == ignored:
                self._tree_watcher.move_to_end(top)
                return guard.token
            if guard is not None:
                self._drop(guard)
            return self._made(top, ignored)

    def holds(self, top: str, token: int, ignored: frozenset[str]) -> bool:
        """Whether nothing has changed since the token was given, but in what was ``ignored`` at that time."""
        with self._lock:
            self._take_events()
            guard = self._tree_watcher.get(top)
            return guard is not None and guard.token == token and guard.ignored <= ignored

    def narrow(self, top: str, token: int, ignored: frozenset[str]) -> None:
        """An answer that was made under the token told what is ignored: from now on that is not guarded."""
        with self._lock:
            self._take_events()
            guard = self._tree_watcher.get(top)
            if guard is None or guard.token != token or not guard.ignored < ignored:
                return
            guard.ignored = ignored
            below = tuple(f"{path.rstrip('/')}/" for path in ignored)
            for watch in [each for each in guard.watches if f"{self._watched[each][1]}/".startswith(below)]:
                guard.watches.remove(watch)
                del self._watched[watch]
                if self._inotify is not None:
                    self._inotify.remove(watch)

    def _made(self, top: str, ignored: frozenset[str]) -> int | None:
        if self._inotify is None:
            return None
        guard = _WatchedTree(top, ignored, next(self._tokens))
        try:
            self._watch_all(self._inotify, guard)
        except (OSError, _UnwatchableError):
            self._drop(guard)
            return None
        self._tree_watcher[top] = guard
        while len(self._watched) > _MOST_WATCHES:
            self._drop(next(iter(self._tree_watcher.values())))
        return guard.token if top in self._tree_watcher else None

    def _watch_all(self, inotify: Inotify, guard: _WatchedTree) -> None:
        """Each directory is watched before it is looked into, so that nothing that comes meanwhile is missed."""
        device = os.stat(guard.top).st_dev  # noqa: PTH116 - as all of this, many times
        if _file_system_of(guard.top) not in _LOCAL.values():
            raise _UnwatchableError
        skipped = {path.rstrip("/") for path in guard.ignored}
        below = [""]
        while below:
            here = below.pop()
            if len(guard.watches) >= _MOST_DIRECTORIES:
                raise _UnwatchableError
            watch = inotify.add(os.path.join(guard.top, here), IN_DIRECTORY)  # noqa: PTH118
            if watch in self._watched:
                raise _UnwatchableError
            guard.watches.append(watch)
            self._watched[watch] = (guard, here)
            below += _directories_in(guard.top, here, skipped, device)

    def _take_events(self) -> None:
        for event in self._inotify.events() if self._inotify else ():
            if event.is_overflow:
                for guard in list(self._tree_watcher.values()):
                    self._drop(guard)
            elif event.watch in self._watched:
                self._take(event, *self._watched[event.watch])

    def _take(self, event: InotifyEvent, guard: _WatchedTree, directory: str) -> None:
        path = os.path.join(directory, event.name)  # noqa: PTH118
        if path == ".git":
            return
        is_ignored = path in guard.ignored or f"{path}/" in guard.ignored
        if event.mask & GONE or (event.mask & MOVED and _is_to_be_watched(event, guard.top, path, is_ignored)):
            self._drop(guard)
        elif not is_ignored or event.mask & MOVED:
            guard.token = next(self._tokens)

    def _drop(self, guard: _WatchedTree) -> None:
        for watch in guard.watches:
            self._watched.pop(watch, None)
            if self._inotify is not None:
                self._inotify.remove(watch)
        if self._tree_watcher.get(guard.top) is guard:
            del self._tree_watcher[guard.top]


def _directories_in(top: str, here: str, skipped: set[str], device: int) -> Iterator[str]:
    """Paths in the tree. Raises ``_UnwatchableError``."""
    with os.scandir(os.path.join(top, here)) as entries:  # noqa: PTH118
        for entry in entries:
            if entry.name == ".git":
                if here:
                    raise _UnwatchableError
                continue
            path = os.path.join(here, entry.name)  # noqa: PTH118
            if path in skipped:
                continue
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                if seen.st_dev != device:
                    raise _UnwatchableError
                yield path
            elif seen.st_nlink > 1:
                raise _UnwatchableError


def _is_to_be_watched(event: InotifyEvent, top: str, path: str, is_ignored: bool) -> bool:
    """Whether the tree must be looked through anew because of what has come or gone."""
    if event.is_directory:
        return not is_ignored
    try:
        return os.lstat(os.path.join(top, path)).st_nlink > 1  # noqa: PTH118
    except OSError:
        return False


def _file_system_of(path: str) -> int:
    """The number of its kind. The list of mounts does not tell it in a chroot, nor of a part of a btrfs. Raises
    ``OSError``."""
    told = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), told):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return int(ctypes.c_ulong.from_buffer(told).value)
