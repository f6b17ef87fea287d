"""Runs the operations of ``git_batch`` on this host, one after another in the calling thread.

The host actor calls ``GitExecutor`` in threads; the supervisor decides how many run at once and in which order.
Promises: a failing operation fails alone, because every result is a ``GitResponse``; no operation loses work. git
refuses a checkout that would overwrite changes, and here also ignored files. A refused commit (by a hook, or without a
name) leaves the index as it was.

New branches and tags of a repository go into one git transaction, which makes many of them cheap but succeeds or fails
as a whole. When git refuses, those whose names exist are left out; if that was not the reason (a name may collide with
another in the hierarchy), each is made alone.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError, WorkspaceError, to_wire
from actors.git import merge
from actors.git.fingerprint import Fingerprinter
from actors.git.layout import find_place, read_head
from actors.git.model import (
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    GitRequest,
    GitResponse,
    Merge,
    Operation,
    Read,
    RepositoryPaths,
    Write,
    failed,
    with_time,
)
from actors.git.process import GitOutput, GitRunner, pauses_s
from actors.git.reads import ReadBatch
from actors.git.repository import Repository, refusal
from actors.worktrees.create import delete_branch, find_branch

_RESOLVED = b"REUC"
"""The index extension with git's record of resolved conflicts."""
_COMMITTED = re.compile(r"\[(?:detached HEAD|\S+)(?: \(root-commit\))? ([0-9a-f]{40,64})\] ")
"""git's report of the new commit. HEAD may already be at a later one of another git."""
_UNKNOWN = {"missing", "ambiguous"}
_Start = tuple[Repository, str | None, str]
"""Working tree, start and kind: HEAD differs by working tree, and a tag need not be of a commit."""
QUICK_S = 0.5
"""After this time one call starts no further write, so that other calls get their turn."""
_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


class GitExecutor:
    """Keeps no state between calls and may be used from several threads. ``environment``: the agents'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._git = GitRunner(environment)
        self._fingerprinter = Fingerprinter(environment)
        self._identity = {name: environment[name] for name in _IDENTITY if name in environment}

    def places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        return tuple(map(_place, directories))

    def read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """Answers each request, or finds it unchanged."""
        return ReadBatch(self._fingerprinter, self._repo).answer(asked)

    def write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        """Creates branches and tags first, in one transaction per repository; then runs the others one by one.

        The response is None for what was not started in time.
        """
        begun = time.monotonic()
        creations = [number for number, each in enumerate(asked) if isinstance(each.operation, CreateRef)]
        outcomes: dict[int, GitResponse] = dict(
            zip(creations, self._create([asked[n] for n in creations]), strict=True)
        )
        for number, each in enumerate(asked):
            if number not in outcomes and (not outcomes or time.monotonic() - begun < QUICK_S):
                outcomes[number] = _timed(self._write, each)
        return tuple(outcomes.get(number) for number in range(len(asked)))

    def _create(self, asked: Sequence[GitRequest]) -> list[GitResponse]:
        begun = time.monotonic()
        outcomes: dict[int, GitResponse] = {}
        repositories: dict[Path, list[int]] = {}
        repos: dict[Path, Repository] = {}
        for number, each in enumerate(asked):
            try:
                repo = repos.get(each.directory) or repos.setdefault(each.directory, self._repo(each.directory))
            except Exception as error:  # noqa: BLE001 - as in _timed
                outcomes[number] = failed(error)
            else:
                repositories.setdefault(repo.place.common_directory, []).append(number)
        for numbers in repositories.values():
            made = _create_refs([(repos[asked[number].directory], asked[number].operation) for number in numbers])
            # The first ``Repository`` runs git for all of them.
            made[0] = replace(made[0], retries=repos[asked[numbers[0]].directory].retries)
            outcomes.update(zip(numbers, made, strict=True))
        took_s = (time.monotonic() - begun) / max(1, len(asked))
        return [with_time(outcomes[number], took_s) for number in range(len(asked))]

    def _repo(self, directory: Path) -> Repository:
        place = find_place(directory)
        if place is None:
            raise InvalidRequestError(f"{directory} is in no git repository: give a directory of one.")
        return Repository(self._git, place, directory, self._identity)

    def _write(self, asked: GitRequest) -> GitResponse:
        repo = self._repo(asked.directory)
        try:
            outcome = GitResponse(result=_run(repo, asked.operation))
        except merge.MergeConflictError as conflict:
            outcome = GitResponse(error=to_wire(conflict), result={"conflicts": conflict.files})
        except Exception as error:  # noqa: BLE001 - as in _timed
            outcome = failed(error)
        return replace(outcome, retries=repo.retries)


def _place(directory: Path) -> RepositoryPaths | None:
    """None also for an unreadable directory: the operation then reports it."""
    try:
        return find_place(directory)
    except OSError:
        return None


def _create_refs(wanted: Sequence[tuple[Repository, Operation]]) -> list[GitResponse]:
    creations = [(repo, operation) for repo, operation in wanted if isinstance(operation, CreateRef)]
    if len(creations) < len(wanted):
        raise TypeError("only new branches and tags are created together")
    try:
        return create(creations)
    except Exception as error:  # noqa: BLE001 - as in _timed
        return [failed(error) for _ in creations]


def _run(repo: Repository, operation: Read | Write) -> dict[str, Any]:
    match operation:
        case Checkout():
            return checkout(repo, operation)
        case Commit():
            return commit(repo, operation)
        case Merge():
            return merge.merge(repo, operation.branch, operation.message)
        case DeleteBranch():
            return _delete_branch(repo, operation.name)
        case _:
            raise TypeError(f"{type(operation).__name__} is not a single write")


def _delete_branch(repo: Repository, name: str) -> dict[str, Any]:
    repository = repo.git.repository(repo.place.common_directory)
    branch = find_branch(repository, name)
    if branch is None:
        raise InvalidRequestError(f"There is no branch {name!r} to delete.")
    kept = delete_branch(repository, name)
    if kept is not None:
        raise InvalidRequestError(kept)
    return {"branch": name, "commit": branch.target, "deleted": True}


def _timed(run: Any, asked: GitRequest) -> GitResponse:
    begun = time.monotonic()
    try:
        outcome: GitResponse = run(asked)
    except Exception as error:  # noqa: BLE001 - other callers' operations share the call
        outcome = failed(error)
    return with_time(outcome, time.monotonic() - begun)


def checkout(repo: Repository, operation: Checkout) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words; then nothing has changed unless the text says so."""
    start = repo.commit_of(operation.start) if operation.start else None
    if operation.start and start is None:
        raise InvalidRequestError(f"There is no commit {operation.start!r} to start from: correct it.")
    new = ("--create", operation.branch, *([start] if start else [])) if operation.create else (operation.branch,)
    before = repo.head().branch
    try:
        repo.write_output(repo.top, "switch", "--quiet", "--no-guess", "--no-overwrite-ignore", *new)
    except WorkspaceError as error:
        if before != operation.branch == repo.head().branch:
            raise WorkspaceError(f"{operation.branch} is checked out now, but a hook then failed: {error}") from error
        raise
    return {"branch": operation.branch, "commit": repo.head().commit, "created": operation.create}


def commit(repo: Repository, operation: Commit) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words, ``InvalidRequestError`` when there is nothing to commit."""
    before = repo.head().commit
    copy = IndexCopy(repo) if operation.files or operation.everything else None
    try:
        answer = _stage_and_commit(repo, operation, copy)
        for pause_s in pauses_s():
            if answer.ok or not _lost_race(answer, copy):
                break
            time.sleep(pause_s)
            answer = _stage_and_commit(repo, operation, copy)
    except (WorkspaceError, OSError) as error:
        now = repo.head().commit
        if now != before:
            raise WorkspaceError(f"{error} HEAD is at {now} now: look whether the commit is made.") from error
        if copy is not None:
            copy.put_back()
        raise
    if not answer.ok:
        if copy is not None:
            copy.put_back()
        raise _nothing_to_commit(repo, answer.error.strip() or answer.output.strip()) or refusal(answer)
    head = repo.head()
    named = _COMMITTED.match(answer.output)
    return {"commit": named[1] if named else head.commit, "branch": head.branch}


def _stage_and_commit(repo: Repository, operation: Commit, copy: IndexCopy | None) -> GitOutput:
    if copy is not None:
        _stage(repo, operation, copy)
    return _commit(repo, operation)


def _stage(repo: Repository, operation: Commit, copy: IndexCopy) -> None:
    where, what = (repo.directory, ("--", *operation.files)) if operation.files else (repo.top, ("--all",))
    answer = repo.write(where, "add", *what)
    copy.staged()
    if not answer.ok:
        raise refusal(answer)
    if copy.had_conflicts():
        raise WorkspaceError(
            "Files are in conflict, and staging them would commit conflict markers. Resolve them, stage them with "
            "`git add`, then commit what is staged."
        )


def _commit(repo: Repository, operation: Commit) -> GitOutput:
    only = ("--only", "--", *operation.files) if operation.files else ()
    words = ("-c", "core.abbrev=no", "commit", "--file=-", "--cleanup=whitespace", *only)
    return repo.write(repo.directory, *words, stdin=operation.message.encode(errors="replace"))


def _lost_race(answer: GitOutput, copy: IndexCopy | None) -> bool:
    """Whether another git in the same tree kept the commit from being made: it moved the branch, or overwrote the index
    with an older state."""
    if "cannot lock ref 'HEAD': is at" in answer.error:
        return True
    return copy is not None and "did not match any file(s) known to git" in answer.error and not copy.is_as_staged()


def _nothing_to_commit(repo: Repository, words: str) -> InvalidRequestError | None:
    nothing = not words or "nothing to commit" in words or "nothing added to commit" in words or "no changes" in words
    if nothing and repo.read("diff", "--cached", "--quiet").ok:
        return InvalidRequestError(
            "There is nothing to commit: nothing is staged. Give files, or all true for every change."
        )
    return None


class IndexCopy:
    """A copy of the index. It is restored as git writes it: under its lock, whole or not at all."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._index = repo.place.git_directory / "index"
        self._before = self._read()
        self._staged = self._before

    def staged(self) -> None:
        """Notes the index as this process has changed it."""
        self._staged = self._read()

    def had_conflicts(self) -> bool:
        """Whether files in conflict were staged. git is asked only if the index records resolved conflicts."""
        return _RESOLVED in (self._staged or b"") and bool(self._listing_of(self._before, "--unmerged"))

    def is_as_staged(self) -> bool:
        """Whether the index still lists what was staged. Its bytes differ, because git refreshes file times before
        hooks."""
        return self._listing_of(self._staged, "--stage") == self._listing_of(self._read(), "--stage")

    def put_back(self) -> None:
        """Restores the index; no-op when it is unchanged or another git changes or has changed it.

        Raises ``WorkspaceError`` when it cannot be written.
        """
        if self._staged == self._before:
            return
        lock = self._index.with_name("index.lock")
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return
        is_ours = True
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._before or b"")
            if not self.is_as_staged():
                return
            if self._before is None:
                self._index.unlink(missing_ok=True)
            else:
                lock.replace(self._index)
                is_ours = False  # from here on the lock may be another git's
        except OSError as error:
            raise WorkspaceError(f"What was staged for the refused commit stays staged: {error.strerror}.") from error
        finally:
            if is_ours:
                lock.unlink()

    def _listing_of(self, content: bytes | None, which: str) -> str:
        with tempfile.NamedTemporaryFile(dir=self._repo.place.git_directory, prefix="phalanx-index-") as copy:
            copy.write(content or b"")
            copy.flush()
            answer = self._repo.git.run(
                *(self._repo.top, "ls-files", which, "-z"), environment={"GIT_INDEX_FILE": copy.name}
            )
        return self._repo.output_of(answer)

    def _read(self) -> bytes | None:
        try:
            return self._index.read_bytes()
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class _PlannedWrite:
    creation: CreateRef
    commit: str


def create(creations: Sequence[tuple[Repository, CreateRef]]) -> list[GitResponse]:
    """Creates refs of one repository, with different names; outcomes in the order given. Raises ``WorkspaceError``."""
    starts = _find_starts(creations)
    planned = {
        creation.ref: _PlannedWrite(creation, commit)
        for repo, creation in creations
        if (commit := starts[repo, creation.start, creation.kind]) is not None
    }
    refused = _make_refs(creations[0][0], list(planned.values())) if planned else {}
    return [_outcome(creation, planned.get(creation.ref), refused.get(creation.ref)) for _, creation in creations]


def _outcome(creation: CreateRef, planned: _PlannedWrite | None, refused: WorkspaceError | None) -> GitResponse:
    if planned is None:
        start = creation.start or "HEAD"
        return GitResponse.refused(
            InvalidRequestError(f"There is no commit {start!r} to start from: correct it, or make a first commit.")
        )
    if refused is not None:
        return GitResponse.refused(refused)
    return GitResponse(result={creation.kind: creation.name, "commit": planned.commit, "created": True})


def _find_starts(creations: Iterable[tuple[Repository, CreateRef]]) -> dict[_Start, str | None]:
    """The object each starts at; None without one. Asks git at most once per working tree."""
    found: dict[_Start, str | None] = {}
    unknown: dict[Repository, list[_Start]] = {}
    for repo, creation in creations:
        start = (repo, creation.start, creation.kind)
        if start in found:
            continue
        found[start] = read_head(repo.place).commit if creation.start is None else None
        if found[start] is None:
            unknown.setdefault(repo, []).append(start)
    for repo, starts in unknown.items():
        names = [(start or "HEAD") + ("^{commit}" if kind == "branch" else "") for _, start, kind in starts]
        found.update(zip(starts, _look_up(repo, names), strict=True))
    return found


def _look_up(repo: Repository, names: Sequence[str]) -> list[str | None]:
    """The hash of each name; None for an unknown one."""
    output = repo.read_output(
        "cat-file", "--batch-check=%(objectname)", stdin="".join(f"{name}\n" for name in names).encode()
    )
    words = [line.rpartition(" ")[2] for line in output.split("\n")[:-1]]
    return [None if word in _UNKNOWN else word for word in words]


def _make_refs(repo: Repository, planned: Sequence[_PlannedWrite]) -> dict[str, WorkspaceError]:
    """Creates the refs; returns the refused ones with their errors."""
    error = _try_all(repo, planned)
    if error is None:
        return {}
    names = _look_up(repo, [each.creation.ref for each in planned])
    refused: dict[str, WorkspaceError] = {}
    free = []
    for each, taken in zip(planned, names, strict=True):
        if taken is None:
            free.append(each)
        else:
            kind, name = each.creation.kind, each.creation.name
            refused[each.creation.ref] = WorkspaceError(f"The {kind} {name} exists already: choose another name.")
    if not free or (refused and _try_all(repo, free) is None):
        return refused
    if len(free) == len(planned) == 1:
        return {free[0].creation.ref: error}
    for each in free:
        alone = _try_all(repo, [each])
        if alone is not None:
            refused[each.creation.ref] = alone
    return refused


def _try_all(repo: Repository, planned: Sequence[_PlannedWrite]) -> WorkspaceError | None:
    """Creates all in one transaction: None, or the error when git created none."""
    repository = repo.place.common_directory
    steps = "".join(f"create {each.creation.ref}\0{each.commit}\0" for each in planned)
    command = (f"--git-dir={repository}", "update-ref", "-m", "branch: Created by phalanx", "--stdin", "-z")
    answer = repo.write(repository, *command, stdin=steps.encode())
    return None if answer.ok else refusal(answer)
