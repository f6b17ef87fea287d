"""Which files that git does not track a merge would overwrite: git itself asks that only of those that are not ignored.

``merging`` calls this with what a merge is to change; only the file system is looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_SUBMODULE = "160000"
"""A mode of git: it leaves alone what is in the directory."""


@dataclass(frozen=True, slots=True)
class ChangedPaths:
    added: tuple[str, ...]
    deleted: frozenset[str]


def read_changed_paths(raw: str) -> ChangedPaths:
    """Of ``git diff-tree -r -z --raw --no-renames``."""
    fields = iter(raw.split("\0")[:-1])
    entries = [(about.split(" "), path) for about, path in zip(fields, fields, strict=True)]
    return ChangedPaths(
        added=tuple(path for about, path in entries if about[4] == "A" and about[1] != _SUBMODULE),
        deleted=frozenset(path for about, path in entries if about[4] == "D"),
    )


def untracked_in_the_way(top: Path, changed: ChangedPaths) -> list[str]:
    """Of the working tree at ``top``, where nothing is staged."""
    found: dict[str, None] = {}
    clear: set[str] = set()
    for path in changed.added:
        for parent in map(str, PurePosixPath(path).parents[:-1]):
            if parent in clear:
                break
            clear.add(parent)
            if parent not in changed.deleted and _kind(top / parent) not in (None, stat.S_IFDIR):
                found[parent] = None
        if _kind(top / path) == stat.S_IFDIR:
            below = (os.path.relpath(file, top) for file in _files_below(top / path))
            found.update((file, None) for file in below if file not in changed.deleted)
        elif _kind(top / path) is not None:
            found[path] = None
    return list(found)


def _kind(path: Path) -> int | None:
    """Type bits of its mode; None when there is nothing."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _files_below(directory: Path) -> Iterator[str]:
    for here, directories, files in os.walk(directory):
        links = (name for name in directories if (Path(here) / name).is_symlink())
        yield from (os.path.join(here, name) for name in (*files, *links))  # noqa: PTH118 - as os.walk gives them
