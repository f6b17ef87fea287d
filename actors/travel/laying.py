"""Laying what was saved of uncommitted work over a fresh worktree. Blocks."""

from __future__ import annotations

from pathlib import Path

from actors.workspace.command import GitRunner


def lay_over(git: GitRunner, worktree: Path, saved: str) -> str:
    """The files become what was saved, not committed and not staged; why they did not, if so: empty when they did.

    Only over the very commit on which the save was made: over a later one it would take work back.
    """
    where = f"What was not committed is not in the worktree but in the commit {saved}"
    parents = git.run(worktree, "rev-parse", "HEAD", f"{saved}^1")
    if not parents.ok or len(set(parents.output.split())) != 1:
        return f"{where}: it was saved before the last commit."
    laid = git.run(worktree, "read-tree", "-m", "-u", "HEAD", saved)
    if not laid.ok:
        return f"{where}: {laid.last_words}."
    unstaged = git.run(worktree, "reset", "--quiet", "--mixed")
    return "" if unstaged.ok else f"What was not committed is staged in the worktree: {unstaged.last_words}."
