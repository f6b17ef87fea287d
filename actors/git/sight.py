"""What of the file system an answer of git depends on, seen quickly and without git.

An answer may be given again when everything that it was made from looks as it did then. A change that leaves no trace
in what is compared would make a stale answer, so a sight in which something changed only just now proves nothing: file
systems keep time in steps, and a second change within the same step would look the same (git has the same care with
its index).
"""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TypeAlias

from actors.git.places import read_small

STEP_NS = 50_000_000
"""Longer than the step in which Linux keeps the times of files."""
_COARSE_STEP_NS = 2_000_000_000
"""The same for file systems that know whole seconds only."""
_SECOND_NS = 1_000_000_000
_PLAIN = 2
"""Of the formats of ``marshal`` the last that writes equal values alike, whoever else holds them."""
MOST_ENTRIES = 1500
"""Of a working tree: of more, git itself tells the status sooner than they can be looked at here."""

Parts: TypeAlias = "dict[str, Sight]"


class Sight:
    """Gathers what is seen. ``reliable`` turns false when something cannot be told from a glance."""

    def __init__(self, parts: Parts | None = None) -> None:
        """``parts``: of all sights that are taken in one go."""
        self._seen: list[object] = []
        self._newest_ns = 0
        self._parts: Parts = {} if parts is None else parts
        self.reliable = True
        self.read: list[bytes] = []
        """What those who look at this sight must read of it themselves."""

    @property
    def digest(self) -> bytes:
        return blake2b(marshal.dumps(self._seen, _PLAIN), digest_size=16).digest()

    def is_settled(self, since_ns: int) -> bool:
        """Whether all that was seen has been as it is since before ``since_ns`` (of the system's clock)."""
        return self._newest_ns < since_ns

    def note(self, what: object) -> None:
        self._seen.append(what)

    def part(self, name: str, look: Callable[[Sight], None]) -> Sight:
        """What several sights have in common is looked at once in one go; ``name`` tells such parts apart."""
        seen = self._parts.get(name)
        if seen is None:
            seen = self._parts[name] = Sight(self._parts)
            look(seen)
        self._seen.append(seen.digest)
        self._newest_ns = max(self._newest_ns, seen._newest_ns)
        self.reliable = self.reliable and seen.reliable
        return seen

    def file(self, path: str) -> bool:
        """By its metadata: every change of a file changes its ctime or, when it is replaced, its inode. Of a link also
        what it leads to."""
        try:
            seen = os.lstat(path)
        except OSError:
            self._seen.append(None)
            return False
        self._metadata(seen)
        if stat.S_ISLNK(seen.st_mode):
            self._target(path)
        return True

    def _target(self, link: str) -> None:
        """git reads what a link of its own files leads to."""
        try:
            self._metadata(os.stat(link))  # noqa: PTH116 - called for every answer
        except OSError:
            self._seen.append(None)

    def content(self, path: str) -> bytes | None:
        """A small file's own bytes."""
        content = read_small(path)
        self._seen.append(content)
        return content

    def refs(self, directory: str) -> None:
        """All files below a directory of refs; those that come and go show in the times of the directories."""
        below = [directory]
        while below:
            here = below.pop()
            if not self.file(here):
                continue
            for entry in sorted(self.entries(here), key=_name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    self._seen.append(entry.name)
                    self.file(entry.path)

    def tree(self, top: str, ignored: Iterable[str]) -> None:
        """A working tree without what git ignores. ``reliable`` only if it is small and holds no other repository."""
        skipped = {os.path.join(top, path.rstrip("/")) for path in ignored}  # noqa: PTH118 - called for every answer
        below = [top]
        looked_at = 0
        while below and looked_at <= MOST_ENTRIES:
            here = below.pop()
            self.file(here)
            for entry in self.entries(here):
                if entry.name == ".git":
                    self.reliable = self.reliable and here == top
                elif not skipped or entry.path not in skipped:
                    looked_at += 1
                    if self._is_directory(entry):
                        below.append(entry.path)  # its own times are noted with what is in it
        self.reliable = self.reliable and looked_at <= MOST_ENTRIES

    def entries(self, directory: str) -> list[os.DirEntry[str]]:
        """Of a directory that is there; others change it at any time, and some may not be read."""
        try:
            with os.scandir(directory) as entries:
                return list(entries)
        except OSError:
            self.reliable = False
            return []

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        """Notes it, unless it is one."""
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:
            self.reliable = False
            return False
        self._seen.append(entry.name)
        if stat.S_ISDIR(seen.st_mode):
            return True
        self._metadata(seen)
        return False

    def _metadata(self, seen: os.stat_result) -> None:
        changed_ns = seen.st_ctime_ns
        is_directory = stat.S_ISDIR(seen.st_mode)
        self._seen.append((seen.st_ino, changed_ns, seen.st_mode, 0 if is_directory else seen.st_size))
        settled_ns = changed_ns + (STEP_NS if changed_ns % _SECOND_NS else _COARSE_STEP_NS)
        self._newest_ns = max(self._newest_ns, settled_ns)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
