"""The place that retiring is about, and the error that keeps it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from actors.errors import WorkspaceError

_SET_ASIDE = ".removing-"
_OURS = "phalanx/"
_BOUND = "phalanx-branch"


class KeptError(WorkspaceError):
    """The worktree stays as it is. The text is a reason that ends a sentence: "… is kept: " comes before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One worktree of ours: a directory below the worktrees' root, which need not be there any more."""

    worktree: Path
    git_directory: Path
    branch: str
    """The one that was made for the instance; another may be checked out."""
    base_commit: str | None
    """Where the branch began; None when nobody knows any more."""

    @property
    def name(self) -> str:
        """The instance's, under which its work is saved. A spare worktree that it was given keeps a name of its own."""
        return name_in(self.branch)

    @property
    def registration(self) -> Path:
        """Where git keeps what it knows of the worktree: under the directory's name if that is free, and we insist."""
        return registration_at(self.git_directory, self.worktree)

    @property
    def set_aside(self) -> Path:
        """Where the directory goes, in one step, once nothing in it can be lost. What is found there may be deleted."""
        return self.worktree.with_name(_SET_ASIDE + self.worktree.name)


def branch_of(name: str) -> str:
    """The branch of the instance, or of the worktree, ``name``."""
    return _OURS + name


def name_in(branch: str) -> str:
    """Of the instance whose branch it is."""
    return branch.removeprefix(_OURS)


def registration_at(git_directory: Path, worktree: Path) -> Path:
    return git_directory / "worktrees" / worktree.name


def note_bound(registration: Path, branch: str) -> None:
    """From now on the spare worktree counts as the one of ``branch``. Raises ``OSError``."""
    (registration / _BOUND).write_text(branch)


def forget_bound(registration: Path) -> None:
    """The branch is gone: another worktree may be made for the instance. Raises ``OSError``."""
    (registration / _BOUND).unlink(missing_ok=True)


def bound_to(registration: Path) -> str | None:
    """The branch for which a spare worktree was taken; None for one that is still spare, or never was one."""
    try:
        return (registration / _BOUND).read_text() or None
    except OSError:
        return None


def original_of(directory: Path) -> Path | None:
    """The worktree that was set aside as ``directory``; None when it is no such directory."""
    name = directory.name
    return directory.with_name(name.removeprefix(_SET_ASIDE)) if name.startswith(_SET_ASIDE) else None


def registration_of(directory: Path) -> Path | None:
    """Where the ``.git`` file points. Reading it asks no git that might find a repository further up."""
    try:
        content = (directory / ".git").read_text(errors="surrogateescape")
    except OSError:
        return None
    return Path(os.path.realpath(directory / content.removeprefix("gitdir:").strip()))


def directory_of(registration: Path) -> Path | None:
    """The worktree that it is of; None when that is not written there (any more, or yet)."""
    try:
        git_file = os.fsdecode((registration / "gitdir").read_bytes()).removesuffix("\n")
    except OSError:
        return None
    return Path(os.path.realpath(registration / git_file)).parent
