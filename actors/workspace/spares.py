"""Spare worktrees: checked out before anybody knows for whom, on no branch, and bound to an instance in milliseconds.

A spare is given away only untouched: HEAD where it was put, and not a file more, less or different than when it was
made. Which branch a spare was bound to stands beside it in the repository, so that whoever clears away later knows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.branches import delete_branch
from actors.workspace.claims import claimed_existing
from actors.workspace.command import GitRunner
from actors.workspace.site import bound_to, branch_of, forget_bound, note_bound, registration_at
from actors.workspace.source import Source
from actors.workspace.worktree import CHECKOUT_TIMEOUT_S, MOST_NAMES, claim_branch, make_detached_worktree

_LISTING = "phalanx-spare"
"""Beside git's own knowledge of the worktree: the commit and what ``git status`` listed when it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    branch: str
    notes: tuple[str, ...] = ()


def make_spare(git: GitRunner, source: Source, target: Path) -> None:
    """Raises ``WorkspaceError``; then nothing is left behind."""
    make_detached_worktree(git, source, target)
    registration = registration_at(source.git_directory, target)
    (registration / _LISTING).write_text(f"{source.commit}\n{_listing(git, target)}", errors="surrogateescape")


def bind_spare(git: GitRunner, worktree: Path, instance_id: str, found: Callable[[], Source]) -> Bound:
    """Makes the instance's branch at the commit of the source that is ``found``, and puts the worktree on it.

    Raises ``WorkspaceError`` when the spare is gone, was touched or was bound before, or git fails; then it is only to
    be discarded.
    """
    with claimed_existing(worktree) as there:
        if not there:
            raise WorkspaceError(f"The spare worktree {worktree} is gone.")
        listing = _listing(git, worktree)
        source = found()
        registration = registration_at(source.git_directory, worktree)
        commit = _check_untouched(registration, worktree, listing)
        branch = _claim_free_branch(git, source, instance_id)
        try:
            _put_on(git, registration, worktree, branch, anew=commit != source.commit)
        except WorkspaceError:
            _withdraw(git, source, registration, branch)
            raise
    taken = branch != branch_of(instance_id)
    note = f"The name {instance_id} was taken, so the branch is {branch}."
    return Bound(branch=branch, notes=(note,) if taken else ())


def _check_untouched(registration: Path, worktree: Path, listing: str) -> str:
    """The commit that it is at."""
    try:
        commit, _, listed = (registration / _LISTING).read_text(errors="surrogateescape").partition("\n")
        head = (registration / "HEAD").read_text().strip()
    except OSError as error:
        raise WorkspaceError(f"What is known of the spare worktree {worktree} is gone: {error.strerror}.") from error
    if bound_to(registration) is not None or head != commit or listing != listed:
        raise WorkspaceError(f"The spare worktree {worktree} is not as it was made.")
    return commit


def _claim_free_branch(git: GitRunner, source: Source, instance_id: str) -> str:
    for number in range(1, MOST_NAMES):
        branch = branch_of(instance_id if number == 1 else f"{instance_id}-{number}")
        if claim_branch(git, source, branch):
            return branch
    raise WorkspaceError(f"{branch_of(instance_id)} and {MOST_NAMES - 2} names after it are taken in {source.top}.")


def _put_on(git: GitRunner, registration: Path, worktree: Path, branch: str, *, anew: bool) -> None:
    """``anew``: the branch is at another commit than the worktree."""
    try:
        note_bound(registration, branch)
    except OSError as error:
        raise WorkspaceError(f"{registration} cannot be written: {error.strerror}.") from error
    if anew:
        _check_out(git, worktree, branch)
    else:
        _point_head_at(registration, branch)


def _withdraw(git: GitRunner, source: Source, registration: Path, branch: str) -> None:
    """The name is free for the worktree that the instance gets instead. A branch that stays is still known to be the
    spare's, and goes with it."""
    # What went wrong first is what the caller should read.
    with suppress(WorkspaceError, OSError):
        if delete_branch(git, source.git_directory, branch, made_at=source.commit) is None:
            forget_bound(registration)


def _point_head_at(registration: Path, branch: str) -> None:
    """As ``git symbolic-ref`` does, under the same lock, but without a process: HEAD is a file, or the spare would not
    have passed for untouched."""
    head, lock = registration / "HEAD", registration / "HEAD.lock"
    try:
        with lock.open("x") as file:
            file.write(f"ref: refs/heads/{branch}\n")
        lock.replace(head)
    except OSError as error:
        raise WorkspaceError(f"{head} cannot be written: {error.strerror}.") from error


def _check_out(git: GitRunner, worktree: Path, branch: str) -> None:
    answer = git.run(worktree, "checkout", "--quiet", branch, "--", timeout_s=CHECKOUT_TIMEOUT_S)
    if not answer.ok:
        raise WorkspaceError(f"The spare worktree {worktree} could not be put on {branch}: {answer.last_words}.")


def _listing(git: GitRunner, worktree: Path) -> str:
    answer = git.run(
        worktree, "status", "--porcelain=v1", "-z", "--no-renames", "--ignored=matching", "--untracked-files=normal"
    )
    if not answer.ok:
        raise WorkspaceError(f"git cannot tell what is in {worktree}: {answer.last_words}.")
    return answer.output
