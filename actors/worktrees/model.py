"""The values of worktrees: workspaces and results that travel to the supervisor and its store, locations, planned
removals.

They run no git, so an instance actor may hold them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from actors.errors import WorkspaceError
from actors.git.model import RepositoryPaths

WorkspaceMode = Literal["isolated", "shared"]
_SET_ASIDE = ".removing-"
_OURS = "phalanx/"
_BOUND = "phalanx-branch"


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
    """The common git directory of the repository's worktrees. It outlives ``repository`` when that is another
    instance's worktree."""
    shared_place: RepositoryPaths | None = None
    """When shared: the working tree around ``workDir``. None outside of git, and in records of earlier versions."""
    home: Path | None = None
    """The repository on the supervisor's host that ``git_directory`` mirrors; None for a workspace on that host."""
    branch: str | None = None
    """The instance's own branch; when shared, the checked out one, None if detached."""
    base_commit: str | None = None
    """Full hash of the commit where the work starts; None outside git or before the first commit."""
    notes: tuple[str, ...] = ()
    """Sentences for the caller."""
    read: tuple[str, ...] = ()
    """Of a spare in which an agent waits: git's patterns of the files that it has read at its start."""

    @property
    def place(self) -> RepositoryPaths | None:
        """Where it was made; None outside of git.

        Whoever works in it may put a link or a ``.git`` in its place. So nothing is done there for an instance, or for
        the team, unless it still lies there when it is done (``GitRequest.place``).
        """
        if self.git_directory is None or self.shared_place is not None:
            return self.shared_place
        own = self.registration or self.git_directory
        return RepositoryPaths(
            top=self.worktree or self.repository, git_directory=own, common_directory=self.git_directory
        )

    @property
    def registration(self) -> Path | None:
        """git's directory for the worktree; None when shared."""
        if self.worktree is None or self.git_directory is None:
            return None
        return registration_at(self.git_directory, self.worktree)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalResult:
    """The result of removing a workspace."""

    removed: bool
    """The worktree is gone. Always False when shared: ``workDir`` is never touched."""
    kept_reason: str | None
    """Which work stays, why and where; None when none does."""
    branch_deleted: bool
    saved_ref: str | None = None
    """The ref with the saved state of the worktree; None when everything is held elsewhere. It may be set although the
    worktree stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanWorktree:
    """A directory below the worktrees' root that belongs to no known instance."""

    path: Path
    git_directory: Path | None
    """The common git directory of its repository; None when it is not a worktree or the repository is gone."""
    branch: str | None
    """The branch that was made for it; None when that is gone."""
    unfinished: bool
    """Its creation was cut off, so no agent has ever run in it."""
    state: str
    """A sentence on its work, or why that is unknown."""
    age_s: float
    """Seconds since its creation."""
    host: str = ""
    """Its host; empty: the host that was asked."""


class WorktreeKeptError(WorkspaceError):
    """The worktree stays. The text is a reason that follows "… is kept: "."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeLocation:
    """One worktree of ours: a directory below the worktrees' root, which may be gone."""

    worktree: Path
    git_directory: Path
    branch: str
    """The branch made for the instance; another may be checked out."""
    base_commit: str | None
    """The branch's first commit; None when unknown."""

    @property
    def name(self) -> str:
        """The instance's name, under which its work is saved. A former spare's directory has another name."""
        return name_in(self.branch)

    @property
    def registration(self) -> Path:
        """git's directory for the worktree. It has the directory's name, because creation insists on that."""
        return registration_at(self.git_directory, self.worktree)

    @property
    def set_aside(self) -> Path:
        """Where the directory is renamed to once nothing in it can be lost. What is there may be deleted."""
        return self.worktree.with_name(_SET_ASIDE + self.worktree.name)


def branch_of(name: str) -> str:
    """The branch of the instance, or of the worktree, ``name``."""
    return _OURS + name


def name_in(branch: str) -> str:
    """The name of the instance with this branch."""
    return branch.removeprefix(_OURS)


def instance_in(name: str) -> str:
    """The instance of a worktree or branch of this name: ``-2`` and the like follow when its id was taken."""
    return name.partition("-")[0]


def registration_at(git_directory: Path, worktree: Path) -> Path:
    return git_directory / "worktrees" / worktree.name


def note_bound(registration: Path, branch: str) -> None:
    """Notes that the spare worktree belongs to ``branch``. Raises ``OSError``."""
    (registration / _BOUND).write_text(branch)


def forget_bound(registration: Path) -> None:
    """Deletes the note, once the branch is gone. Raises ``OSError``."""
    (registration / _BOUND).unlink(missing_ok=True)


def bound_to(registration: Path) -> str | None:
    """The branch that a spare worktree is bound to; None when it is unbound or never was a spare."""
    try:
        return (registration / _BOUND).read_text() or None
    except OSError:
        return None


def original_of(directory: Path) -> Path | None:
    """The worktree that was renamed to ``directory``; None when none was."""
    name = directory.name
    return directory.with_name(name.removeprefix(_SET_ASIDE)) if name.startswith(_SET_ASIDE) else None


def registration_of(directory: Path) -> Path | None:
    """Where the ``.git`` file points. Read without git, which might find a repository further up."""
    try:
        content = (directory / ".git").read_text(errors="surrogateescape")
    except OSError:
        return None
    return Path(os.path.realpath(directory / content.removeprefix("gitdir:").strip()))


def directory_of(registration: Path) -> Path | None:
    """The registered worktree; None when that is not written there."""
    try:
        git_file = os.fsdecode((registration / "gitdir").read_bytes()).removesuffix("\n")
    except OSError:
        return None
    return Path(os.path.realpath(registration / git_file)).parent


@dataclass(slots=True)
class PlannedRemovals:
    """What earlier planned removals will have changed. Each pair begins with the common git directory."""

    gone: set[tuple[Path, str]] = field(default_factory=set)
    """Branches that will have been deleted."""
    held: set[tuple[Path, str]] = field(default_factory=set)
    """Commits that will have been saved."""

    def branches_gone(self, git_directory: Path) -> frozenset[str]:
        return frozenset(branch for place, branch in self.gone if place == git_directory)

    def holds(self, git_directory: Path, is_below: Callable[[str], bool]) -> bool:
        """Whether ``is_below`` is true for a saved commit: whether that reaches the commit in question."""
        return any(is_below(commit) for place, commit in self.held if place == git_directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFile:
    """A file that git does not bring along, on its way from the main working tree into a worktree."""

    path: str
    """Relative to the directory of both."""
    mode: int
    content: bytes
