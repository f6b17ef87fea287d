"""Which branches something that is under way will come back to: git lists them as checked out nowhere meanwhile.

A rebase or a bisect leaves its branch and returns to it at its end. ``branches`` asks before it deletes one.
"""

from __future__ import annotations

import os
from pathlib import Path

_NOTES = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
"""Files that name the branch, in full or by its short name."""


def comes_back_to(git_directory: Path, branch: str, *, besides: Path | None = None) -> Path | None:
    """The working tree's own git directory in which ``branch`` is waited for; ``besides`` is one that will be gone."""
    names = {os.fsencode(branch), os.fsencode(f"refs/heads/{branch}")}
    trees = (git_directory, *(tree for tree in sorted((git_directory / "worktrees").glob("*")) if tree != besides))
    return next((tree for tree in trees if any(_noted(tree / note) in names for note in _NOTES)), None)


def _noted(note: Path) -> bytes | None:
    try:
        return note.read_bytes().removesuffix(b"\n")
    except OSError:
        return None
