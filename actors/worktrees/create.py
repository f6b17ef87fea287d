"""Making worktrees and branches, from nothing or from a spare, one at a time in each directory.

Makes an instance's worktree and branch, and takes half-made ones away.

Two claims, both atomic between threads, processes and homes, come first: the lock on the worktree's directory and the
branch, which git only makes if it is not there. So whatever fails later, exactly what this call made is taken away. git
inherits the lock: it is free only when nobody works on the directory any more. Until it is complete the worktree is
locked in git with a reason of ours; by that a creation that was cut off (kill -9) is known, in which no agent ever ran.

Spare worktrees: checked out before anybody knows for whom, on no branch, and bound to an instance in milliseconds.

A spare is given away only untouched: HEAD where it was put, and not a file more, less or different than when it was
made. Which branch a spare was bound to stands beside it in the repository, so that whoever clears away later knows.

The lock on a worktree's directory: who holds it is the only one that makes, saves or removes it.

It is an ``flock`` on the directory itself, so it is atomic between threads, processes and homes, ends with its holder,
and goes with the directory when that is renamed.

Branches: made only if they are not there, deleted only as long as another one holds their commits.

Which branches something that is under way will come back to: git lists them as checked out nowhere meanwhile.

A rebase or a bisect leaves its branch and returns to it at its end. ``delete_branch`` asks before it deletes one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.files import try_flock
from actors.git.process import GitFailedError, GitOutput, GitRunner, RepositoryGit, pauses_s
from actors.worktrees.model import (
    PlannedRemovals,
    WorktreeKeptError,
    WorktreeLocation,
    bound_to,
    branch_of,
    directory_of,
    forget_bound,
    note_bound,
    registration_at,
)
from actors.worktrees.source import SourceRepository

PATIENCE_S = 60.0
_POLL_S = 0.02


@contextmanager
def claimed_new(target: Path) -> Iterator[int | None]:
    """The descriptor that holds the lock on ``target``, which is made if need be; None when somebody else has it."""
    lock = _make_and_open(target)
    try:
        locked = lock is not None and _lock(lock, target)
        try:
            yield lock if locked else None
        finally:
            if locked:
                with suppress(OSError):
                    target.rmdir()
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def claimed_existing(target: Path) -> Iterator[bool]:
    """Waits for the lock; False when ``target`` is not there (any more). Raises ``WorktreeKeptError`` when it stays
    taken."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (lock := _open_existing(target)) is not None:
        try:
            if _lock(lock, target):
                yield True
                return
        finally:
            os.close(lock)
        if time.monotonic() > deadline_s:
            raise WorktreeKeptError("another call of Phalanx is at work in it")
        time.sleep(_POLL_S)
    yield False


def is_claimed(target: Path) -> bool:
    lock = _open(target)
    if lock is None:
        return False
    try:
        return not try_flock(lock, shared=True)
    except OSError:
        return True
    finally:
        os.close(lock)


def _make_and_open(target: Path) -> int | None:
    try:
        target.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        return None
    except OSError as error:
        raise WorkspaceError(f"The directory {target} cannot be made: {error.strerror}. Set it right.") from error
    return _open(target)


def _open(target: Path) -> int | None:
    try:
        return _open_existing(target)
    except WorktreeKeptError:
        return None


def _open_existing(target: Path) -> int | None:
    try:
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WorktreeKeptError(f"it cannot be opened ({error.strerror})") from error


def _lock(descriptor: int, target: Path) -> bool:
    with suppress(OSError):
        return try_flock(descriptor) and os.path.samestat(os.fstat(descriptor), target.lstat())
    return False


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


_SAFE_PLACES = ("refs/heads", "refs/remotes", "refs/tags", "refs/phalanx")
_FIELDS = "--format=%(refname)%00%(objectname)%00%(worktreepath)%00%(symref)%00%(HEAD)%00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    name: str
    target: str
    checked_out_in: str
    is_alias: bool
    is_head: bool
    """HEAD of the repository (not of a worktree of ours) is on it."""


def create_branch(repository: RepositoryGit, branch: str, commit: str) -> None:
    """Raises ``GitFailedError`` also if there is one of that name, however short a time ago it was made."""
    absent = "0" * len(commit)
    repository.update_ref("-m", "branch: Created by phalanx", _ref(branch), commit, absent)


def find_branch(repository: RepositoryGit, branch: str) -> Ref | None:
    return next((ref for ref in _refs(repository, _ref(branch)) if ref.name == _ref(branch)), None)


def find_holder(
    repository: RepositoryGit, commit: str, *, besides: Collection[str], in_branches: bool = False
) -> Ref | None:
    """A ref other than the branches ``besides`` from which ``commit`` can be reached."""
    places = ("refs/heads",) if in_branches else _SAFE_PLACES
    found = _refs(repository, *places, containing=commit)
    others = set(map(_ref, besides))
    return next((ref for ref in found if ref.name not in others and not ref.is_alias), None)


def is_reachable(repository: RepositoryGit, commit: str, *, tip: str) -> bool:
    with suppress(GitFailedError):
        repository.merge_base("--is-ancestor", commit, tip)
        return True
    return False


def plan_deletion(repository: RepositoryGit, location: WorktreeLocation, earlier: PlannedRemovals) -> str | None:
    """What ``delete_branch`` will answer once the worktree is gone and ``earlier`` is done; notes it there."""
    own = find_branch(repository, location.branch)
    gone = earlier.branches_gone(location.git_directory)
    if own is None or location.branch in gone:
        return None
    if own.checked_out_in and Path(own.checked_out_in) == location.worktree:
        own = replace(own, checked_out_in="")
    kept = _why_waited_for(location.git_directory, location.branch, leaving=location.registration)
    if kept is None:
        kept, _ = _why_kept(repository, own, None, besides={location.branch, *gone})
    if kept is None:
        earlier.gone.add((location.git_directory, location.branch))
    return kept


def delete_branch(repository: RepositoryGit, branch: str, *, made_at: str | None = None) -> str | None:
    """Deletes the branch if that loses no commit; otherwise says why it stays.

    It may go when another branch holds its commits, or when it still is at ``made_at``. Both refs are compared and one
    deleted in a single transaction: two that hold each other's commits cannot go at the same time. Only a branch that
    HEAD is on is not compared: it is never deleted here, and git would note a deletion in HEAD's log.
    """
    own = find_branch(repository, branch)
    if own is None:
        return None
    kept, holder = _why_kept(repository, own, made_at, besides={branch})
    kept = kept or _why_waited_for(repository.directory, branch)
    if kept is not None:
        return kept
    steps = {own.name: f"delete {own.name}\0{own.target}\0"}
    if holder is not None and not holder.is_head:
        steps[holder.name] = f"verify {holder.name}\0{holder.target}\0"
    # Git locks them in this order: two that hold each other's commits would otherwise wait for each other.
    in_order = "".join(steps[name] for name in sorted(steps))
    try:
        repository.update_ref("--stdin", "-z", istream=in_order.encode(errors="surrogateescape"))
    except GitFailedError as error:
        return f"The branch {branch} stays, because git did not delete it: {error.answer.last_words}"
    # What a push may have noted about the branch; most have nothing, and then git says so.
    with suppress(GitFailedError):
        repository.config("--local", "--remove-section", f"branch.{branch}")
    return None


def _why_kept(
    repository: RepositoryGit, own: Ref, made_at: str | None, *, besides: Collection[str]
) -> tuple[str | None, Ref | None]:
    """Why the branch must stay; if it may go, perhaps another one that holds its commits."""
    branch = own.name.removeprefix(_ref(""))
    if own.checked_out_in or own.is_head:
        return f"The branch {branch} is checked out in {own.checked_out_in or repository.directory}.", None
    if own.target == made_at:
        return None, None
    holder = find_holder(repository, own.target, besides=besides, in_branches=True)
    if holder is None:
        return f"The branch {branch} has commits that no other branch has; merge it, then delete it.", None
    return None, holder


def _why_waited_for(git_directory: Path, branch: str, *, leaving: Path | None = None) -> str | None:
    waiting = comes_back_to(git_directory, branch, besides=leaving)
    return None if waiting is None else f"The branch {branch} is being rebased or bisected: {waiting} tells where."


def _refs(repository: RepositoryGit, *patterns: str, containing: str | None = None) -> list[Ref]:
    only = () if containing is None else ("--contains", containing)
    listing: str = repository.for_each_ref(_FIELDS, *only, "--", *patterns)
    # Every field ends in a zero byte, because the path of a worktree may hold a newline; so a newline begins a name.
    fields = iter(listing.split("\0")[:-1])
    return [
        Ref(name=name.strip(), target=target, checked_out_in=worktree, is_alias=bool(alias), is_head=head == "*")
        for name, target, worktree, alias, head in zip(fields, fields, fields, fields, fields, strict=True)
    ]


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"


CHECKOUT_TIMEOUT_S = 300.0
_UNFINISHED = "phalanx is making this worktree"
MOST_NAMES = 50
_TRANSIENT = (".lock", "cannot lock", "could not lock", "could not create directory", "could not create leading")


def make_worktree(
    git: GitRunner, source: SourceRepository, root: Path, instance_id: str
) -> tuple[Path, str, tuple[str, ...]]:
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


def make_detached_worktree(git: GitRunner, source: SourceRepository, target: Path) -> None:
    """A worktree on no branch, at ``source.commit``. Raises ``WorkspaceError``, with nothing left behind."""
    clear_unfinished(git, source.git_directory, target)
    if _retry(lambda: _attempt(git, source, target, None)) is None:
        raise WorkspaceError(f"The name {target.name} is taken in {target.parent} or {source.git_directory}.")


def make_worktree_on(git: GitRunner, source: SourceRepository, target: Path, branch: str) -> tuple[str, ...]:
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


def _attempt(git: GitRunner, source: SourceRepository, target: Path, branch: str | None) -> tuple[str, ...] | None:
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
                    delete_branch(git.repository(source.git_directory), branch, made_at=source.commit)
            raise


def claim_branch(git: GitRunner, source: SourceRepository, branch: str) -> bool:
    """Whether the branch was made. Raises when none of its kind can be."""
    repository = git.repository(source.git_directory)
    try:
        create_branch(repository, branch, source.commit or "")
    except GitFailedError as error:
        answer = error.answer
    else:
        return True
    family = branch.partition("/")[0]
    if find_branch(repository, family) is not None:
        raise InvalidRequestError(
            f"The repository {source.top} has a branch named {family!r}, so git cannot make {branch!r} beside it. "
            f"Rename it (`git branch -m {family} <other name>`), or use a shared workspace."
        )
    if find_branch(repository, branch) is not None or "exists" in answer.error:
        return False
    raise _failure(f"git could not make the branch {branch} in {source.top}", answer)


def _check_out(
    git: GitRunner, source: SourceRepository, target: Path, branch: str | None, lock: int
) -> tuple[str, ...]:
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


def _failure(what: str, answer: GitOutput) -> WorkspaceError:
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
        delete_branch(git.repository(git_directory), branch_of(target.name))
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
        with suppress(GitFailedError):
            git.repository(git_directory).worktree("remove", "--force", "--force", "--", target)


_LISTING = "phalanx-spare"
"""Beside git's own knowledge of the worktree: the commit and what ``git status`` listed when it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchedWorktree:
    branch: str
    notes: tuple[str, ...] = ()


def make_spare(git: GitRunner, source: SourceRepository, target: Path) -> None:
    """Raises ``WorkspaceError``; then nothing is left behind."""
    make_detached_worktree(git, source, target)
    registration = registration_at(source.git_directory, target)
    (registration / _LISTING).write_text(f"{source.commit}\n{_listing(git, target)}", errors="surrogateescape")


def bind_spare(
    git: GitRunner, worktree: Path, instance_id: str, found: Callable[[], SourceRepository]
) -> BranchedWorktree:
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
            _withdraw_spare(git, source, registration, branch)
            raise
    taken = branch != branch_of(instance_id)
    note = f"The name {instance_id} was taken, so the branch is {branch}."
    return BranchedWorktree(branch=branch, notes=(note,) if taken else ())


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


def _claim_free_branch(git: GitRunner, source: SourceRepository, instance_id: str) -> str:
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
        _check_out_branch(git, worktree, branch)
    else:
        _point_head_at(registration, branch)


def _withdraw_spare(git: GitRunner, source: SourceRepository, registration: Path, branch: str) -> None:
    """The name is free for the worktree that the instance gets instead. A branch that stays is still known to be the
    spare's, and goes with it."""
    # What went wrong first is what the caller should read.
    with suppress(WorkspaceError, OSError):
        if delete_branch(git.repository(source.git_directory), branch, made_at=source.commit) is None:
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


def _check_out_branch(git: GitRunner, worktree: Path, branch: str) -> None:
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
