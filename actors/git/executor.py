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
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from actors.errors import InvalidRequestError, WorkspaceError, to_wire
from actors.git import merge
from actors.git.fingerprint import Fingerprinter
from actors.git.layout import find_place, find_place_in, read_head
from actors.git.model import (
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    GitRequest,
    GitResponse,
    Merge,
    Operation,
    RepositoryPaths,
    failed,
    with_time,
)
from actors.git.process import GitOutput, GitRunner, pauses_s
from actors.git.reads import ReadBatch
from actors.git.repository import Repository, identity_in, refusal
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


class GitExecutor:
    """Keeps no state between calls and may be used from several threads. ``environment``: the agents'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._git = GitRunner(environment)
        self._fingerprinter = Fingerprinter(environment)
        self._identity = identity_in(environment)

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
        creations = {number: each for number, each in enumerate(asked) if isinstance(each.operation, CreateRef)}
        outcomes = self._create(creations)
        for number, each in enumerate(asked):
            if number not in outcomes and (not outcomes or time.monotonic() - begun < QUICK_S):
                outcomes[number] = self._write(each)
        return tuple(outcomes.get(number) for number in range(len(asked)))

    def _create(self, asked: Mapping[int, GitRequest]) -> dict[int, GitResponse]:
        """Creates the refs, in one transaction per repository."""
        begun = time.monotonic()
        outcomes: dict[int, GitResponse] = {}
        repos: dict[object, Repository] = {}
        repositories: dict[Path, dict[int, tuple[Repository, CreateRef]]] = {}
        for number, each in asked.items():
            where = (each.directory, each.place)
            try:
                repo = repos.get(where) or repos.setdefault(where, self._repo(each))
            except Exception as error:  # noqa: BLE001 - as in _write
                outcomes[number] = failed(error)
            else:
                creation = cast("CreateRef", each.operation)
                repositories.setdefault(repo.place.common_directory, {})[number] = (repo, creation)
        for creations in repositories.values():
            try:
                made = create(list(creations.values()))
            except Exception as error:  # noqa: BLE001 - as in _write
                made = [failed(error)] * len(creations)
            # The first ``Repository`` runs git for all of them.
            first = next(repo for repo, _ in creations.values())
            made[0] = replace(made[0], retries=first.retries)
            outcomes.update(zip(creations, made, strict=True))
        took_s = (time.monotonic() - begun) / max(1, len(asked))
        return {number: with_time(outcome, took_s) for number, outcome in outcomes.items()}

    def _repo(self, asked: GitRequest) -> Repository:
        directory = asked.directory
        place = find_place_in(directory, asked.place)
        if place is None:
            raise InvalidRequestError(f"{directory} is in no git repository: give a directory of one.")
        return Repository(self._git, place, directory, self._identity, stays=asked.place is not None)

    def _write(self, asked: GitRequest) -> GitResponse:
        begun, retries = time.monotonic(), 0
        try:
            repo = self._repo(asked)
            try:
                outcome = GitResponse(result=_run(repo, asked.operation))
            finally:
                retries = repo.retries
        except merge.MergeConflictError as conflict:
            outcome = GitResponse(error=to_wire(conflict), result={"conflicts": conflict.files})
        except Exception as error:  # noqa: BLE001 - other callers' operations share the call
            outcome = failed(error)
        return with_time(replace(outcome, retries=retries), time.monotonic() - begun)


def _place(directory: Path) -> RepositoryPaths | None:
    """None also for an unreadable directory: the operation then reports it."""
    try:
        return find_place(directory)
    except OSError:
        return None


def _run(repo: Repository, operation: Operation) -> dict[str, Any]:
    match operation:
        case Checkout():
            return checkout(repo, operation)
        case Commit():
            return commit(repo, operation)
        case Merge():
            return merge.merge(repo, operation.branch, operation.message, operation.onto)
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


def checkout(repo: Repository, operation: Checkout) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words; then nothing has changed unless the text says so."""
    start = repo.commit_of(operation.start) if operation.start else None
    if operation.start and start is None:
        raise InvalidRequestError(f"There is no commit {operation.start!r} to start from: correct it.")
    new = ("--create", operation.branch, *([start] if start else [])) if operation.create else (operation.branch,)
    before = repo.head().branch
    try:
        repo.output_of(repo.write(repo.top, "switch", "--quiet", "--no-guess", "--no-overwrite-ignore", *new))
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
    only = ("--only", "--", *operation.files) if operation.files else ()
    words = ("-c", "core.abbrev=no", "commit", "--file=-", "--cleanup=whitespace", *only)
    return repo.write(repo.directory, *words, stdin=operation.message.encode(errors="replace"))


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


def create(creations: Sequence[tuple[Repository, CreateRef]]) -> list[GitResponse]:
    """Creates refs of one repository, with different names; outcomes in the order given. Raises ``WorkspaceError``."""
    starts = _find_starts(creations)
    commits = [starts[repo, creation.start, creation.kind] for repo, creation in creations]
    planned = {creation: commit for (_, creation), commit in zip(creations, commits, strict=True) if commit}
    refused = _make_refs(creations[0][0], planned) if planned else {}
    return [_outcome(creation, planned.get(creation), refused.get(creation)) for _, creation in creations]


def _outcome(creation: CreateRef, commit: str | None, refused: WorkspaceError | None) -> GitResponse:
    if commit is None:
        start = creation.start or "HEAD"
        return GitResponse.refused(
            InvalidRequestError(f"There is no commit {start!r} to start from: correct it, or make a first commit.")
        )
    if refused is not None:
        return GitResponse.refused(refused)
    return GitResponse(result={creation.kind: creation.name, "commit": commit, "created": True})


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


def _make_refs(repo: Repository, planned: Mapping[CreateRef, str]) -> dict[CreateRef, WorkspaceError]:
    """Creates the refs at these commits; returns the refused ones with their errors."""
    error = _try_all(repo, planned)
    if error is None:
        return {}
    taken = _look_up(repo, [creation.ref for creation in planned])
    refused = {
        creation: WorkspaceError(f"The {creation.kind} {creation.name} exists already: choose another name.")
        for creation, commit in zip(planned, taken, strict=True)
        if commit is not None
    }
    free = {creation: commit for creation, commit in planned.items() if creation not in refused}
    if not free or (refused and _try_all(repo, free) is None):
        return refused
    if len(planned) == 1:
        return dict.fromkeys(free, error)
    for creation, commit in free.items():
        alone = _try_all(repo, {creation: commit})
        if alone is not None:
            refused[creation] = alone
    return refused


def _try_all(repo: Repository, planned: Mapping[CreateRef, str]) -> WorkspaceError | None:
    """Creates all in one transaction: None, or the error when git created none."""
    repository = repo.place.common_directory
    steps = "".join(f"create {creation.ref}\0{commit}\0" for creation, commit in planned.items())
    command = (f"--git-dir={repository}", "update-ref", "-m", "branch: Created by phalanx", "--stdin", "-z")
    answer = repo.write(repository, *command, stdin=steps.encode())
    return None if answer.ok else refusal(answer)
