"""The values of this package that travel: to the supervisor, into its store and back.

They import no git, so an instance actor may hold them without paying for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
class Retirement:
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
class Leftover:
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
