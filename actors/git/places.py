"""Finds the repository of a directory as git does, without asking git: it is needed before every operation."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from actors.git.values import Place

_BRANCHES = "refs/heads/"
ASK_GIT = ".invalid"
"""Stands for the branch in HEAD where git keeps refs elsewhere (reftable)."""
_REMOVED = " (deleted)"
"""So the kernel marks the name of a directory that is gone."""
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def find_place(directory: Path) -> Place | None:
    """None when the directory is in no repository, as far as can be seen."""
    here = Path(_real_path(os.fspath(directory)))
    for candidate in (here, *here.parents):
        git_directory = _linked(candidate / ".git")
        if git_directory is not None:
            return Place(
                top=candidate, git_directory=git_directory, common_directory=common_directory_of(git_directory)
            )
        if _is_repository(candidate):
            return Place(top=None, git_directory=candidate, common_directory=common_directory_of(candidate))
    return None


def common_directory_of(git_directory: Path) -> Path:
    written = read_line(git_directory / "commondir")
    return Path(_real_path(os.path.join(git_directory, written))) if written else git_directory  # noqa: PTH118


def _real_path(path: str) -> str:
    """``os.path.realpath``, of a directory that is there by one question to the kernel."""
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


@dataclass(frozen=True, slots=True)
class Head:
    """What is checked out. ``commit`` is None when only git can tell it, or when there is none yet; ``branch`` is
    ``ASK_GIT`` when only git can tell it."""

    branch: str | None
    commit: str | None


def read_head(place: Place) -> Head:
    written = read_line(place.git_directory / "HEAD") or ""
    ref = written.removeprefix("ref: ") if written.startswith("ref: ") else None
    commit = written if ref is None else read_line(place.common_directory / ref) or ""
    branch = ref.removeprefix(_BRANCHES) if ref and ref.startswith(_BRANCHES) else None
    return Head(branch, commit if _HASH.fullmatch(commit) else None)


def read_line(path: Path) -> str | None:
    """The only line of one of git's small files; None when it is not there."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - called for every answer
            return os.fsdecode(file.readall()).removesuffix("\n")
    except OSError:
        return None


def _linked(dot_git: Path) -> Path | None:
    """The git directory that ``.git`` is or names."""
    if dot_git.is_dir():
        return Path(_real_path(os.fspath(dot_git))) if (dot_git / "HEAD").exists() else None
    written = read_line(dot_git)
    if written is None or not written.startswith("gitdir:"):
        return None
    named = Path(_real_path(os.path.join(dot_git.parent, written.removeprefix("gitdir:").strip())))  # noqa: PTH118
    return named if named.is_dir() else None


def _is_repository(directory: Path) -> bool:
    return all((directory / name).exists() for name in ("HEAD", "objects", "refs"))
