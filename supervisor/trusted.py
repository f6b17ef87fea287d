"""Which directories an agent must be made to trust; pure."""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from supervisor.registry import InstanceRecord


def trusted(home: Home, record: InstanceRecord) -> tuple[Path, ...]:
    """Older versions of Claude Code inherit trust from any directory above, newer ones only from the repository."""
    workspace = record.workspace
    if workspace is None or workspace.worktree is None:
        return (record.directory,)
    git_directory = workspace.git_directory
    main = git_directory.parent if git_directory is not None and git_directory.name == ".git" else git_directory
    return (home.worktrees, main or workspace.worktree)
