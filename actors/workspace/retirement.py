"""Decides whether a worktree may go. It never decides for loss: whatever is not understood is kept, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.branches import find_holder
from actors.workspace.changes import is_rebuilt, read_hidden, read_status, some_of
from actors.workspace.command import Answer, GitRunner

_UNDER_WAY = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "sequencer": "cherry-pick or revert",
    "BISECT_LOG": "bisect",
}


def why_kept(git: GitRunner, worktree: Path, git_directory: Path, branch: str, base_commit: str | None) -> str | None:
    """The reason why removing ``worktree`` could lose work; None when it cannot."""
    registration = _registration(worktree)
    if registration is None or registration.parent != git_directory / "worktrees":
        return "it is no longer the worktree that was made for the instance (its .git points elsewhere)"
    under_way = next((what for name, what in _UNDER_WAY.items() if (registration / name).exists()), None)
    if under_way is not None:
        return f"a {under_way} is under way in it"
    return _why_files_stay(git, worktree) or _why_commits_stay(git, worktree, git_directory, branch, base_commit)


def _why_files_stay(git: GitRunner, worktree: Path) -> str | None:
    status = read_status(
        _read(
            git,
            *(worktree, "status", "--porcelain=v1", "-z", "--no-renames"),
            *("--untracked-files=all", "--ignored=matching", "--ignore-submodules=none"),
        )
    )
    if status.changed:
        return f"{len(status.changed)} uncommitted change(s) are in it ({some_of(status.changed)})"
    precious = tuple(path for path in status.ignored if not is_rebuilt(path) or _holds_repository(worktree / path))
    if precious:
        return f"files that git ignores are in it and nowhere else ({some_of(precious)})"
    unwatched, skipped = read_hidden(_read(git, worktree, "ls-files", "-v", "-z"))
    hidden = (*unwatched, *(path for path in skipped if os.path.lexists(worktree / path)))
    if hidden:
        return f"git was told not to look at changes of some files in it ({some_of(hidden)})"
    return None


def _why_commits_stay(
    git: GitRunner, worktree: Path, git_directory: Path, branch: str, base_commit: str | None
) -> str | None:
    own_refs = _read(git, worktree, "for-each-ref", "--count=1", "--", "refs/worktree", "refs/rewritten")
    if own_refs:
        return "it has refs that belong to it alone (git for-each-ref refs/worktree refs/rewritten)"
    head = git.run(worktree, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    commit = head.output.strip()
    if not head.ok:
        return "its HEAD is no commit"
    if commit == base_commit or find_holder(git, git_directory, commit, besides=branch) is not None:
        return None
    return f"its commit {commit[:12]} is not merged: no branch or tag but {branch} has it"


def remove_worktree(git: GitRunner, worktree: Path, git_directory: Path) -> str | None:
    """Removes it, unless git itself objects (it looks once more); then says why it stays."""
    answer = git.run_in_repository(git_directory, "worktree", "remove", "--", str(worktree))
    return None if answer.ok else f"git does not remove it: {answer.last_words}"


def _registration(worktree: Path) -> Path | None:
    """Where the worktree's ``.git`` file points. Reading it asks no git that might find a repository further up."""
    try:
        content = (worktree / ".git").read_text(errors="surrogateescape")
    except OSError:
        return None
    return Path(os.path.realpath(worktree / content.removeprefix("gitdir:").strip()))


def _holds_repository(directory: Path) -> bool:
    return any(".git" in names or ".git" in files for _, names, files in os.walk(directory))


def _read(git: GitRunner, worktree: Path, *arguments: str) -> str:
    answer: Answer = git.run(worktree, *arguments)
    if not answer.ok:
        raise WorkspaceError(
            f"git cannot tell whether {worktree} holds work, so nothing was removed: {answer.last_words}. "
            f"Look at it by hand."
        )
    return answer.output
