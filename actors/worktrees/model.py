"""The values of worktrees: what travels, where one is, and removals that are only planned.

The values of this package that travel: to the supervisor, into its store and back.

They import no git, so an instance actor may hold them without paying for it.

The place that retiring is about, and the error that keeps it.

What planned removals would change for those that are planned after them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from actors.errors import WorkspaceError

WorkspaceMode = Literal["isolated", "shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where one instance works. All paths are absolute."""

    mode: WorkspaceMode
    directory: Path
    """The agent's working directory: ``workDir`` itself, or the same place inside the worktree."""
    worktree: Path | None = None
    """Root of the instance's worktree; None when shared."""
    repository: Path | None = None
    """Top level of the repository (or worktree) that ``workDir`` is in; None outside git."""
    git_directory: Path | None = None
    """The git directory that all worktrees of the repository have in common. It outlives ``repository`` when that is
    another instance's worktree."""
    home: Path | None = None
    """The repository on the supervisor's host whose mirror ``git_directory`` is; None for a workspace of that host."""
    branch: str | None = None
    """The instance's own branch; when shared the one that is checked out, None if detached."""
    base_commit: str | None = None
    """Full hash of the commit that the work starts from; None outside git or before the first commit."""
    notes: tuple[str, ...] = ()
    """What the caller should know, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalResult:
    """What became of a workspace whose instance is gone."""

    removed: bool
    """The worktree is no longer there. Always False when shared: ``workDir`` is never touched."""
    kept_reason: str | None
    """What of the instance's work stays, why and where; None when nothing does."""
    branch_deleted: bool
    saved_ref: str | None = None
    """The ref in the repository under which the state of the worktree was saved; None when there was nothing to save
    that is not held elsewhere. It may be set although the worktree stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanWorktree:
    """A directory below the worktrees' root that belongs to no instance which the caller knows."""

    path: Path
    git_directory: Path | None
    """The common git directory of its repository; None when it is no worktree or that is gone."""
    branch: str | None
    """The branch that was made for it; None when that is not there (any more)."""
    unfinished: bool
    """It was cut off while it was being made, so that no agent has ever run in it."""
    state: str
    """What work is in it, or why that cannot be told: a sentence."""
    age_s: float
    """How long ago it was made."""
    host: str = ""
    """Where it is; empty: on the host that was asked."""


_SET_ASIDE = ".removing-"
_OURS = "phalanx/"
_BOUND = "phalanx-branch"


class WorktreeKeptError(WorkspaceError):
    """The worktree stays as it is. The text is a reason that ends a sentence: "… is kept: " comes before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeLocation:
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


@dataclass(slots=True)
class PlannedRemovals:
    """Each pair begins with the repository's common git directory."""

    gone: set[tuple[Path, str]] = field(default_factory=set)
    """Branches that will have been deleted."""
    held: set[tuple[Path, str]] = field(default_factory=set)
    """Commits that will have been saved."""

    def branches_gone(self, git_directory: Path) -> frozenset[str]:
        return frozenset(branch for place, branch in self.gone if place == git_directory)

    def holds(self, git_directory: Path, is_below: Callable[[str], bool]) -> bool:
        """``is_below``: whether what is asked for can be reached from this commit."""
        return any(is_below(commit) for place, commit in self.held if place == git_directory)
