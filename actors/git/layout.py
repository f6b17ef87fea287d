"""Finds a directory's repository and HEAD as git does, but without git, because every operation needs them first."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from actors.errors import RefusedError
from actors.git.model import RepositoryPaths

_BRANCHES = "refs/heads/"
ASK_GIT = ".invalid"
"""The branch in HEAD when git keeps refs elsewhere (reftable)."""
_REMOVED = " (deleted)"
"""The kernel's suffix for the name of a deleted directory."""
_SMALL_BYTES = 4096
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
STATES = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "sequencer": "cherry-pick or revert",
    "BISECT_LOG": "bisect",
}
"""Files of a git directory that show an unfinished operation."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is checked out."""

    branch: str | None
    """None when detached; ``ASK_GIT`` when only git knows it."""
    commit: str | None
    """None before the first commit, or when only git knows it."""


def find_place(directory: Path) -> RepositoryPaths | None:
    """The repository of a directory; None when it is in none."""
    candidate = _real_path(os.fspath(directory))
    while True:
        git_directory = _linked(candidate)
        if git_directory is not None:
            return _place(candidate, git_directory)
        if _is_repository(candidate):
            return _place(None, candidate)
        above = candidate.rpartition("/")[0] or "/"
        if above == candidate:
            return None
        candidate = above


def find_place_in(directory: Path, expected: RepositoryPaths | None) -> RepositoryPaths | None:
    """As ``find_place``. Raises ``RefusedError`` when it is not the ``expected`` one, if there is one."""
    place = find_place(directory)
    if expected is not None and place != expected:
        raise RefusedError(
            f"{directory} is not any more what the team made there: it is gone, or leads to another directory or "
            "repository. Nothing was done. Ask the user to look at it."
        )
    return place


def _place(top: str | None, git_directory: str) -> RepositoryPaths:
    written = read_line(f"{git_directory}/commondir")
    # Creating a Path is costly; often both are the same.
    own = Path(git_directory)
    common = own if not written else Path(_real_path(os.path.join(git_directory, written)))  # noqa: PTH118
    return RepositoryPaths(top=Path(top) if top else None, git_directory=own, common_directory=common)


def _real_path(path: str) -> str:
    """``os.path.realpath``, by a single question to the kernel when the directory exists."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(path)
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - called for every answer
    except OSError:
        return os.path.realpath(path)
    finally:
        os.close(descriptor)
    return os.path.realpath(path) if found.endswith(_REMOVED) else found


def read_head(place: RepositoryPaths) -> Head:
    written = read_line(f"{place.git_directory}/HEAD") or ""
    ref = written.removeprefix("ref: ") if written.startswith("ref: ") else _linked_ref(place.git_directory)
    commit = written if ref is None else read_line(f"{place.common_directory}/{ref}") or ""
    return Head(branch_of(ref or ""), commit if _HASH.fullmatch(commit) else None)


def branch_of(ref: str) -> str | None:
    """The branch that a full ref name names; None when it names none."""
    return ref.removeprefix(_BRANCHES) if ref.startswith(_BRANCHES) else None


def _linked_ref(git_directory: Path) -> str | None:
    """The ref that HEAD names as a symbolic link, which git still reads."""
    try:
        named = os.readlink(f"{git_directory}/HEAD")  # noqa: PTH115 - as fast as the rest
    except OSError:
        return None
    return named if named.startswith("refs/") else None


def under_way(git_directory: Path) -> str | None:
    """The unfinished operation in the working tree with this git directory; None without one."""
    return next((what for name, what in STATES.items() if os.path.lexists(git_directory / name)), None)


def read_line(path: str | Path) -> str | None:
    """The single line of one of git's small files; None without the file."""
    content = read_small(path)
    return None if content is None else os.fsdecode(content).removesuffix("\n")


def read_small(path: str | Path) -> bytes | None:
    """The bytes of a file; None without it. Hot: a buffer for a large file would cost more than reading a small one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = os.read(descriptor, _SMALL_BYTES)
        while len(content) % _SMALL_BYTES == 0 and (more := os.read(descriptor, _SMALL_BYTES)):
            content += more
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return content


def _linked(directory: str) -> str | None:
    """The git directory that ``.git`` in the directory is or names."""
    dot_git = f"{directory}/.git"
    try:
        is_directory = stat.S_ISDIR(os.stat(dot_git).st_mode)  # noqa: PTH116 - called for every answer
    except OSError:
        return None
    if is_directory:
        return _real_path(dot_git) if os.path.exists(f"{dot_git}/HEAD") else None  # noqa: PTH110
    written = read_line(dot_git)
    if written is None or not written.startswith("gitdir:"):
        return None
    named = _real_path(os.path.join(directory, written.removeprefix("gitdir:").strip()))  # noqa: PTH118
    return named if os.path.isdir(named) else None  # noqa: PTH112


def _is_repository(directory: str) -> bool:
    return all(os.path.exists(f"{directory}/{name}") for name in ("HEAD", "objects", "refs"))  # noqa: PTH110
