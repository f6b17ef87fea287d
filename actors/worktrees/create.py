"""Makes worktrees and branches, new or from a spare, and removes incomplete ones.

``manager`` calls it; ``remove``, ``transfer`` and ``git.executor`` use its branches and locks. A new worktree needs two
claims, both atomic between threads, processes and homes: the lock on its directory, and its branch, which git creates
only if absent. So after a failure exactly what the call made is removed. git inherits the lock, so it is free only when
no process works in the directory. Until it is complete the worktree is locked in git with a reason of ours; that shows
a creation that was cut off (kill -9), in which no agent ever ran.

- Spares: checked out on no branch before their instance exists, then bound to it in milliseconds. A spare is used only
  untouched: HEAD and git's list of its files are as they were made. The bound branch is noted beside git's
  registration, so a later clean-up knows it.
- Temporary ones: on no branch, locked as unfinished for their whole life. So what a killed process leaves of one is
  cleared away like a creation that was cut off.
- Locks: an ``flock`` on the directory itself. It ends with its holder and follows a rename.
- Branches: created only if absent, deleted only while another branch holds their commits. A rebase or bisect leaves its
  branch and returns to it later; git lists that branch as checked out nowhere, so ``delete_branch`` looks for it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.files import try_flock
from actors.git.layout import read_line
from actors.git.process import GitFailedError, GitOutput, GitRunner, RepositoryGit, pauses_s
from actors.marks import INSTANCE_MARK
from actors.processes import end_all_found, processes_with
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
_ENDING_S = 3.0
_NOTES = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
"""Files of an unfinished operation that name its branch, in full or short."""
_SAFE_PLACES = ("refs/heads", "refs/remotes", "refs/tags", "refs/phalanx")
_FIELDS = "--format=%(refname)%00%(objectname)%00%(worktreepath)%00%(symref)%00%(HEAD)%00"
CHECKOUT_TIMEOUT_S = 300.0
_UNFINISHED = "phalanx is making this worktree"
MOST_NAMES = 50
_TRANSIENT = (".lock", "cannot lock", "could not lock", "could not create directory", "could not create leading")
_LISTING = "phalanx-spare"
"""File in the registration: the commit and the output of ``git status`` when the spare was made."""


def make_worktree(
    git: GitRunner, source: SourceRepository, root: Path, instance_id: str
) -> tuple[Path, str, tuple[str, ...]]:
    """Makes a worktree below ``root`` on a new branch at ``source.commit``; returns directory, branch and notes.

    Both are named after the instance, with ``-2``, ``-3``, … when the name is taken: nothing that exists is reused.
    Raises ``WorkspaceError`` in git's words, with nothing left behind.
    """
    for name in _names(instance_id):
        target, branch = root / name, branch_of(name)
        notes = _make(git, source, target, branch)
        if notes is not None:
            return target, branch, (*_note_on_name(instance_id, branch), *notes)
    raise WorkspaceError(
        f"{branch_of(instance_id)} and {MOST_NAMES - 2} names after it are taken in {source.top}. Delete branches or "
        f"directories of past instances there and in {root}, then try again."
    )


def make_worktree_on(git: GitRunner, source: SourceRepository, target: Path, branch: str) -> tuple[str, ...]:
    """Makes a worktree on exactly this new branch; returns notes. Raises as ``make_worktree``."""
    notes = _make(git, source, target, branch)
    if notes is None:
        raise WorkspaceError(f"{branch} is taken in {source.top}, or {target.name} in {target.parent}. Try again.")
    return notes


def _names(instance_id: str) -> Iterator[str]:
    yield instance_id
    for number in range(2, MOST_NAMES):
        yield f"{instance_id}-{number}"


def _note_on_name(instance_id: str, branch: str) -> tuple[str, ...]:
    taken = branch != branch_of(instance_id)
    return (f"The name {instance_id} was taken, so the branch is {branch}.",) if taken else ()


class _TransientError(WorkspaceError):
    """Another git process was in the way; a retry may work."""


def _make(git: GitRunner, source: SourceRepository, target: Path, branch: str | None) -> tuple[str, ...] | None:
    """Makes the worktree and returns notes, or None when the name is taken. Without a branch HEAD is detached."""
    clear_unfinished(git, source.git_directory, target)
    for pause_s in pauses_s():
        try:
            return _attempt(git, source, target, branch)
        except _TransientError:
            time.sleep(pause_s)
    return _attempt(git, source, target, branch)


def _attempt(git: GitRunner, source: SourceRepository, target: Path, branch: str | None) -> tuple[str, ...] | None:
    if registration_at(source.git_directory, target).exists():
        return None
    with claimed_new(target) as lock:
        if lock is None or any(target.iterdir()):
            return None
        if branch is not None and not _claim_branch(git, source, branch):
            return None
        try:
            return _check_out(git, source, target, branch, lock)
        except WorkspaceError:
            # The caller should read the first error.
            with suppress(WorkspaceError):
                _withdraw(git, source.git_directory, target)
                if branch is not None:
                    delete_branch(git.repository(source.git_directory), branch, made_at=source.commit)
            raise


def _claim_branch(git: GitRunner, source: SourceRepository, branch: str) -> bool:
    """Creates the branch; False when the name is taken. Raises when no ``phalanx/`` branch can be created."""
    repository = git.repository(source.git_directory)
    try:
        commit = source.commit or ""
        repository.update_ref("-m", "branch: Created by phalanx", _ref(branch), commit, "0" * len(commit))
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
    # git removes the worktree when it fails itself, but not when only the user's post-checkout hook fails.
    if not answer.ok and not (target / ".git").exists():
        raise _failure(f"git could not make a worktree of {source.top} in {target}", answer)
    _unlock(registration_at(source.git_directory, target))
    return () if answer.ok else (f"The repository's post-checkout hook failed: {answer.last_words}",)


def _unlock(registration: Path) -> None:
    """``git worktree unlock`` without a process."""
    try:
        (registration / "locked").unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{registration} cannot be written: {error.strerror}. Make it writable.") from error


def _failure(what: str, answer: GitOutput) -> WorkspaceError:
    transient = answer.met_half_made or any(words in answer.error for words in _TRANSIENT)
    kind = _TransientError if transient else WorkspaceError
    return kind(f"{what}: {answer.last_words}. Repair this, or use a shared workspace.")


def clear_unfinished(git: GitRunner, git_directory: Path, target: Path) -> bool:
    """Removes what a cut-off creation has left under this name; False when there is nothing of the kind."""
    if not is_unfinished(git_directory, target):
        return False
    with claimed_new(target) as lock:
        if lock is None or not is_unfinished(git_directory, target):
            return False
        _clear(git, git_directory, target)
        delete_branch(git.repository(git_directory), branch_of(target.name))
        return True


def _clear(git: GitRunner, git_directory: Path, target: Path) -> None:
    """Also ends what a check in a temporary worktree has left running."""
    end_all_found(lambda: processes_with(INSTANCE_MARK, str(target)), _ENDING_S)
    _withdraw(git, git_directory, target)


def is_unfinished(git_directory: Path, target: Path) -> bool:
    """Whether a creation of this directory was cut off. Another home may be making the same name."""
    registration = registration_at(git_directory, target)
    return read_line(registration / "locked") == _UNFINISHED and directory_of(registration) == target


def _withdraw(git: GitRunner, git_directory: Path, target: Path) -> None:
    """Removes an incomplete worktree, in which no agent has run."""
    shutil.rmtree(target, ignore_errors=True)
    if registration_at(git_directory, target).exists():
        with suppress(GitFailedError):
            git.repository(git_directory).worktree("remove", "--force", "--force", "--", target)


class TemporaryWorktree:
    """A worktree in which no agent works; nothing of it stays."""

    def __init__(self, git: GitRunner, git_directory: Path, directory: Path, lock: int) -> None:
        self._git = git
        self._git_directory = git_directory
        self.directory = directory
        self._lock = lock

    def check_out(self, commit: str) -> None:
        """Call it once. Raises ``WorkspaceError``."""
        for pause_s in pauses_s():
            try:
                return self._add(commit)
            except _TransientError:
                time.sleep(pause_s)
        return self._add(commit)

    def _add(self, commit: str) -> None:
        what = ("--lock", "--reason", _UNFINISHED, "--detach", "--", str(self.directory), commit)
        answer = self._git.run_once(
            *(self._git_directory, f"--git-dir={self._git_directory}", "worktree", "add", "--quiet", *what),
            timeout_s=CHECKOUT_TIMEOUT_S,
            inherit=(self._lock,),
        )
        # The user's post-checkout hook may fail.
        if not answer.ok and not (self.directory / ".git").exists():
            raise _failure(f"git could not make a worktree of {self._git_directory} in {self.directory}", answer)


@contextmanager
def temporary_worktree(
    git: GitRunner, git_directory: Path, target: Path, patience_s: float
) -> Iterator[TemporaryWorktree]:
    """Holds the lock on ``target``, whose worktree is removed in the end. One at a time: another call waits for it.

    What a killed call has left there is removed first, with the processes that still run for it. Raises
    ``WorkspaceError``.
    """
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        with claimed_new(target) as lock:
            if lock is not None and is_unfinished(git_directory, target):
                _clear(git, git_directory, target)
                continue  # the lock went with the directory
            if lock is not None and any(target.iterdir()):
                raise WorkspaceError(f"{target} holds something that is not of Phalanx: move it away, then try again.")
            if lock is not None:
                try:
                    yield TemporaryWorktree(git, git_directory, target, lock)
                finally:
                    with suppress(WorkspaceError):  # the next one clears away what stays
                        _withdraw(git, git_directory, target)
                return
        time.sleep(_POLL_S)
    raise WorkspaceError(f"Another merge in {git_directory} is not done yet: try again when it is.")


def make_spare(git: GitRunner, source: SourceRepository, target: Path) -> None:
    """Makes a spare in ``target`` at ``source.commit``. Raises ``WorkspaceError``, with nothing left behind."""
    if _make(git, source, target, None) is None:
        raise WorkspaceError(f"The name {target.name} is taken in {target.parent} or {source.git_directory}.")
    registration = registration_at(source.git_directory, target)
    (registration / _LISTING).write_text(f"{source.commit}\n{_listing(git, target)}", errors="surrogateescape")


def bind_spare(
    git: GitRunner, worktree: Path, instance_id: str, found: Callable[[], SourceRepository], read: Sequence[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """Creates the instance's branch at the commit of the ``found`` source, and puts the spare on it.

    Returns the branch and notes. Raises ``WorkspaceError`` when the spare is gone, touched or already bound, when a
    file that was ``read`` there (git's patterns) is another at that commit, or git fails; then discard it.
    """
    with claimed_existing(worktree) as there:
        if not there:
            raise WorkspaceError(f"The spare worktree {worktree} is gone.")
        listing = _listing(git, worktree)
        source = found()
        registration = registration_at(source.git_directory, worktree)
        commit = _check_untouched(registration, worktree, listing)
        if read and source.commit is not None and commit != source.commit:
            _check_same(git, worktree, commit, source.commit, read)
        branch = claim_free_branch(git, source, instance_id)
        try:
            _put_on(git, registration, worktree, branch, anew=commit != source.commit)
        except WorkspaceError:
            _withdraw_spare(git, source, registration, branch)
            raise
    return branch, _note_on_name(instance_id, branch)


def _check_untouched(registration: Path, worktree: Path, listing: str) -> str:
    """Returns the spare's commit. Raises ``WorkspaceError`` when it was touched or bound."""
    try:
        commit, _, listed = (registration / _LISTING).read_text(errors="surrogateescape").partition("\n")
        head = (registration / "HEAD").read_text().strip()
    except OSError as error:
        raise WorkspaceError(f"The notes on the spare worktree {worktree} are gone: {error.strerror}.") from error
    if bound_to(registration) is not None or head != commit or listing != listed:
        raise WorkspaceError(f"The spare worktree {worktree} is not as it was made.")
    return commit


def _check_same(git: GitRunner, worktree: Path, commit: str, other: str, read: Sequence[str]) -> None:
    answer = git.run(worktree, "diff", "--name-only", "--no-ext-diff", "--no-renames", commit, other, "--", *read)
    if not answer.ok:
        raise _failure(f"git could not compare {commit} and {other} in {worktree}", answer)
    if answer.output:
        files = ", ".join(answer.output.splitlines())
        raise WorkspaceError(f"The agent of the spare worktree {worktree} has read what is different now: {files}.")


def claim_free_branch(git: GitRunner, source: SourceRepository, instance_id: str) -> str:
    """Creates the instance's branch, with ``-2``, ``-3``, … when the name is taken. Raises as ``_claim_branch``."""
    for branch in map(branch_of, _names(instance_id)):
        if _claim_branch(git, source, branch):
            return branch
    raise WorkspaceError(f"{branch_of(instance_id)} and {MOST_NAMES - 2} names after it are taken in {source.top}.")


def _put_on(git: GitRunner, registration: Path, worktree: Path, branch: str, *, anew: bool) -> None:
    """``anew``: the branch is not at the worktree's commit."""
    try:
        note_bound(registration, branch)
    except OSError as error:
        raise WorkspaceError(f"{registration} cannot be written: {error.strerror}.") from error
    if anew:
        _check_out_branch(git, worktree, branch)
    else:
        _point_head_at(registration, branch)


def _withdraw_spare(git: GitRunner, source: SourceRepository, registration: Path, branch: str) -> None:
    """Frees the branch's name for the worktree that replaces the spare. A branch that stays is still noted as the
    spare's and is removed with it."""
    # The caller should read the first error.
    with suppress(WorkspaceError, OSError):
        if delete_branch(git.repository(source.git_directory), branch, made_at=source.commit) is None:
            forget_bound(registration)


def _point_head_at(registration: Path, branch: str) -> None:
    """``git symbolic-ref`` without a process, under the same lock. HEAD is a file, as ``_check_untouched`` has read
    it."""
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
        raise WorkspaceError(f"git cannot list the files in {worktree}: {answer.last_words}.")
    return answer.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    name: str
    target: str
    checked_out_in: str
    is_alias: bool
    is_head: bool
    """The repository's own HEAD (not that of a worktree of ours) is on it."""


def find_branch(repository: RepositoryGit, branch: str) -> Ref | None:
    return next((ref for ref in _refs(repository, _ref(branch)) if ref.name == _ref(branch)), None)


def find_holder(
    repository: RepositoryGit, commit: str, *, besides: Collection[str], in_branches: bool = False
) -> Ref | None:
    """A ref other than the branches ``besides`` that reaches ``commit``."""
    places = ("refs/heads",) if in_branches else _SAFE_PLACES
    found = _refs(repository, *places, containing=commit)
    others = set(map(_ref, besides))
    return next((ref for ref in found if ref.name not in others and not ref.is_alias), None)


def is_reachable(repository: RepositoryGit, commit: str, *, tip: str) -> bool:
    with suppress(GitFailedError):
        repository.merge_base("--is-ancestor", commit, tip)
        return True
    return False


def delete_branch(repository: RepositoryGit, branch: str, *, made_at: str | None = None) -> str | None:
    """Deletes the branch if no commit is lost; otherwise returns why it stays.

    It is deleted when another branch holds its commits, or when it still is at ``made_at``. One transaction verifies
    the other branch and deletes this one, so two branches that hold each other's commits are never both deleted. A
    holder that HEAD is on is not verified: it is never deleted here, and git would log a deletion for HEAD.
    """
    own = find_branch(repository, branch)
    if own is None:
        return None
    kept, holder = _why_kept(repository, own, made_at, besides={branch})
    kept = kept or why_in_use(repository.directory, branch)
    if kept is not None:
        return kept
    steps = {own.name: f"delete {own.name}\0{own.target}\0"}
    if holder is not None and not holder.is_head:
        steps[holder.name] = f"verify {holder.name}\0{holder.target}\0"
    # Sorted, so that two calls for branches that hold each other cannot deadlock on git's locks.
    in_order = "".join(steps[name] for name in sorted(steps))
    try:
        repository.update_ref("--stdin", "-z", istream=in_order.encode(errors="surrogateescape"))
    except GitFailedError as error:
        return f"The branch {branch} stays, because git did not delete it: {error.answer.last_words}"
    # A push may have left settings; without any, git fails.
    with suppress(GitFailedError):
        repository.config("--local", "--remove-section", f"branch.{branch}")
    return None


def plan_deletion(repository: RepositoryGit, location: WorktreeLocation, earlier: PlannedRemovals) -> str | None:
    """The result of ``delete_branch`` once the worktree and ``earlier`` are removed; adds it to ``earlier``."""
    own = find_branch(repository, location.branch)
    gone = earlier.branches_gone(location.git_directory)
    if own is None or location.branch in gone:
        return None
    if own.checked_out_in and Path(own.checked_out_in) == location.worktree:
        own = replace(own, checked_out_in="")
    kept = why_in_use(location.git_directory, location.branch, besides=location.registration)
    if kept is None:
        kept, _ = _why_kept(repository, own, None, besides={location.branch, *gone})
    if kept is None:
        earlier.gone.add((location.git_directory, location.branch))
    return kept


def _why_kept(
    repository: RepositoryGit, own: Ref, made_at: str | None, *, besides: Collection[str]
) -> tuple[str | None, Ref | None]:
    """Why the branch must stay; if it need not, the branch that holds its commits, if one is needed."""
    branch = own.name.removeprefix(_ref(""))
    if own.checked_out_in or own.is_head:
        return f"The branch {branch} is checked out in {own.checked_out_in or repository.directory}.", None
    if own.target == made_at:
        return None, None
    holder = find_holder(repository, own.target, besides=besides, in_branches=True)
    if holder is None:
        return f"The branch {branch} has commits that no other branch has; merge it, then delete it.", None
    return None, holder


def why_in_use(git_directory: Path, branch: str, *, besides: Path | None = None) -> str | None:
    """Which rebase or bisect returns to ``branch``. ``besides``: a git directory that is not looked into."""
    for tree in (git_directory, *sorted((git_directory / "worktrees").glob("*"))):
        if tree != besides and any(read_line(tree / note) in (branch, _ref(branch)) for note in _NOTES):
            return f"The branch {branch} is being rebased or bisected: {tree} tells where."
    return None


def _refs(repository: RepositoryGit, *patterns: str, containing: str | None = None) -> list[Ref]:
    only = () if containing is None else ("--contains", containing)
    listing: str = repository.for_each_ref(_FIELDS, *only, "--", *patterns)
    # Fields end in a zero byte, because a worktree's path may hold a newline; so each name begins with a newline.
    fields = iter(listing.split("\0")[:-1])
    return [
        Ref(name=name.strip(), target=target, checked_out_in=worktree, is_alias=bool(alias), is_head=head == "*")
        for name, target, worktree, alias, head in zip(fields, fields, fields, fields, fields, strict=True)
    ]


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"


@contextmanager
def claimed_new(target: Path) -> Iterator[int | None]:
    """The descriptor that holds the lock on ``target``, created if absent; None when another holder has it."""
    try:
        target.mkdir(mode=0o700, exist_ok=True)
        lock = _open(target)
    except (FileExistsError, WorktreeKeptError):
        lock = None
    except OSError as error:
        raise WorkspaceError(
            f"The directory {target} cannot be created: {error.strerror}. Make its parent writable."
        ) from error
    if lock is None:
        yield None
        return
    try:
        if not _lock(lock, target):
            yield None
            return
        try:
            yield lock
        finally:
            with suppress(OSError):
                target.rmdir()
    finally:
        os.close(lock)


@contextmanager
def claimed_existing(target: Path) -> Iterator[bool]:
    """Waits for the lock; False without ``target``. Raises ``WorktreeKeptError`` when the lock stays taken."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (lock := _open(target)) is not None:
        try:
            if _lock(lock, target):
                yield True
                return
        finally:
            os.close(lock)
        if time.monotonic() > deadline_s:
            raise WorktreeKeptError("another call of Phalanx is working in it")
        time.sleep(_POLL_S)
    yield False


def is_claimed(target: Path) -> bool:
    """Whether a call of Phalanx works in it. False also when it cannot be opened."""
    lock = None
    with suppress(WorktreeKeptError):
        lock = _open(target)
    if lock is None:
        return False
    try:
        return not try_flock(lock, shared=True)
    except OSError:
        return True
    finally:
        os.close(lock)


def _open(target: Path) -> int | None:
    """None without ``target``. Raises ``WorktreeKeptError`` when it is no directory that can be read."""
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
