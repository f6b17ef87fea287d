"""Makes an instance's worktree and branch, and takes half-made ones away.

Two claims, both atomic between threads, processes and homes, come first: the lock on the worktree's directory and the
branch, which git only makes if it is not there. So whatever fails later, exactly what this call made is taken away. git
inherits the lock: it is free only when nobody works on the directory any more. Until it is complete the worktree is
locked in git with a reason of ours; by that a creation that was cut off (kill -9) is known, in which no agent ever ran.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.workspace.branches import create_branch, delete_branch, find_branch
from actors.workspace.claims import claimed_new
from actors.workspace.command import Answer, GitRunner, pauses_s
from actors.workspace.site import branch_of, directory_of, registration_at
from actors.workspace.source import Source

CHECKOUT_TIMEOUT_S = 300.0
_UNFINISHED = "phalanx is making this worktree"
MOST_NAMES = 50
_TRANSIENT = (".lock", "cannot lock", "could not lock", "could not create directory", "could not create leading")


def make_worktree(git: GitRunner, source: Source, root: Path, instance_id: str) -> tuple[Path, str, tuple[str, ...]]:
    """A worktree below ``root`` on a new branch at ``source.commit``: its directory, branch and notes.

    Directory and branch are named after the instance, with ``-2``, ``-3``, … when the name is taken: nothing that
    exists is reused. Raises ``WorkspaceError`` in git's words, with nothing left behind.
    """
    for number in range(1, MOST_NAMES):
        name = instance_id if number == 1 else f"{instance_id}-{number}"
        clear_unfinished(git, source.git_directory, root / name)
        target, branch = root / name, branch_of(name)
        notes = _retry(lambda: _attempt(git, source, target, branch))  # noqa: B023 - called at once
        if notes is not None:
            taken = (f"The name {instance_id} was taken, so the branch is {branch_of(name)}.",) if number > 1 else ()
            return target, branch, (*taken, *notes)
    raise WorkspaceError(
        f"{branch_of(instance_id)} and {MOST_NAMES - 2} names after it are taken in {source.top}. Delete branches or "
        f"directories of past instances there and in {root}, then try again."
    )


def make_detached_worktree(git: GitRunner, source: Source, target: Path) -> None:
    """A worktree on no branch, at ``source.commit``. Raises ``WorkspaceError``, with nothing left behind."""
    clear_unfinished(git, source.git_directory, target)
    if _retry(lambda: _attempt(git, source, target, None)) is None:
        raise WorkspaceError(f"The name {target.name} is taken in {target.parent} or {source.git_directory}.")


def make_worktree_on(git: GitRunner, source: Source, target: Path, branch: str) -> tuple[str, ...]:
    """A worktree on this new branch and no other: its notes. Raises ``WorkspaceError``, with nothing left behind."""
    clear_unfinished(git, source.git_directory, target)
    notes = _retry(lambda: _attempt(git, source, target, branch))
    if notes is None:
        raise WorkspaceError(f"{branch} is taken in {source.top}, or {target.name} in {target.parent}. Try again.")
    return notes


class _TransientError(WorkspaceError):
    """Another git process was in the way; the same may work in a moment."""


def _retry(attempt: Callable[[], tuple[str, ...] | None]) -> tuple[str, ...] | None:
    for pause_s in pauses_s():
        try:
            return attempt()
        except _TransientError:
            time.sleep(pause_s)
    return attempt()


def _attempt(git: GitRunner, source: Source, target: Path, branch: str | None) -> tuple[str, ...] | None:
    """The notes of a worktree that was made, or None when the name is taken. Without a branch HEAD is detached."""
    if registration_at(source.git_directory, target).exists():
        return None
    with claimed_new(target) as lock:
        if lock is None or any(target.iterdir()):
            return None
        if branch is not None and not claim_branch(git, source, branch):
            return None
        try:
            return _check_out(git, source, target, branch, lock)
        except WorkspaceError:
            # What went wrong first is what the caller should read.
            with suppress(WorkspaceError):
                _withdraw(git, source.git_directory, target)
                if branch is not None:
                    delete_branch(git, source.git_directory, branch, made_at=source.commit)
            raise


def claim_branch(git: GitRunner, source: Source, branch: str) -> bool:
    """Whether the branch was made. Raises when none of its kind can be."""
    answer = create_branch(git, source.git_directory, branch, source.commit or "")
    if answer.ok:
        return True
    family = branch.partition("/")[0]
    if find_branch(git, source.git_directory, family) is not None:
        raise InvalidRequestError(
            f"The repository {source.top} has a branch named {family!r}, so git cannot make {branch!r} beside it. "
            f"Rename it (`git branch -m {family} <other name>`), or use a shared workspace."
        )
    if find_branch(git, source.git_directory, branch) is not None or "exists" in answer.error:
        return False
    raise _failure(f"git could not make the branch {branch} in {source.top}", answer)


def _check_out(git: GitRunner, source: Source, target: Path, branch: str | None, lock: int) -> tuple[str, ...]:
    what = ("--", str(target), branch) if branch is not None else ("--detach", "--", str(target), source.commit or "")
    answer = git.run_once(
        *(source.top, "worktree", "add", "--quiet", "--lock", "--reason", _UNFINISHED, *what),
        timeout_s=CHECKOUT_TIMEOUT_S,
        inherit=(lock,),
    )
    # git takes the worktree away when it fails, but not when only the user's post-checkout hook did.
    if not answer.ok and not (target / ".git").exists():
        raise _failure(f"git could not make a worktree of {source.top} in {target}", answer)
    _unlock(registration_at(source.git_directory, target))
    return () if answer.ok else (f"The repository's post-checkout hook failed: {answer.last_words}",)


def _unlock(registration: Path) -> None:
    """As ``git worktree unlock`` does, which takes the time of a process for it."""
    try:
        (registration / "locked").unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{registration} cannot be written: {error.strerror}. Set this right.") from error


def _failure(what: str, answer: Answer) -> WorkspaceError:
    transient = answer.met_half_made or any(words in answer.error for words in _TRANSIENT)
    kind = _TransientError if transient else WorkspaceError
    return kind(f"{what}: {answer.last_words}. Set this right, or use a shared workspace.")


def clear_unfinished(git: GitRunner, git_directory: Path, target: Path) -> bool:
    """Takes away what a creation that was cut off has left under this name; False when that is not what is there."""
    if not is_unfinished(git_directory, target):
        return False
    with claimed_new(target) as lock:
        if lock is None or not is_unfinished(git_directory, target):
            return False
        _withdraw(git, git_directory, target)
        delete_branch(git, git_directory, branch_of(target.name))
        return True


def is_unfinished(git_directory: Path, target: Path) -> bool:
    """Whether it carries our mark and is of this directory, not of another home that makes the same name just now."""
    registration = registration_at(git_directory, target)
    with suppress(OSError):
        return (registration / "locked").read_text().strip() == _UNFINISHED and directory_of(registration) == target
    return False


def _withdraw(git: GitRunner, git_directory: Path, target: Path) -> None:
    """Takes a half-made worktree away, whatever git made of it so far. No agent has run in it."""
    shutil.rmtree(target, ignore_errors=True)
    if registration_at(git_directory, target).exists():
        git.run_in_repository(git_directory, "worktree", "remove", "--force", "--force", "--", str(target))
