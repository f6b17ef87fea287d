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
