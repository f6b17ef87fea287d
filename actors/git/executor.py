"""Runs the operations of ``git_batch`` on this host, one after another in the thread that calls.

The host actor calls ``GitExecutor`` in threads; the supervisor decides how many run at once and what waits for what. A
failing operation fails alone: everything comes back as a ``GitResponse``. No operation loses work: git refuses a
checkout that would overwrite changes, and here also one that would overwrite ignored files; a commit that is refused
(by a hook, for want of a name) leaves the index as it was.

New branches and tags of a repository are made in one transaction of git, which is what makes many of them cheap. git
takes one whole or not at all. So when it refuses one, those whose names are taken are left out, and if that was not the
reason (a name stands in the way of another) each is made by itself: the refused fail alone.
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
    with_times,
)
from actors.git.process import GitOutput, GitRunner, pauses_s
from actors.git.reads import ReadBatch
from actors.git.repository import Repository, refusal
from actors.worktrees.create import delete_branch, find_branch

_RESOLVED = b"REUC"
"""The name of the part of an index in which git notes conflicts that were resolved."""


class IndexCopy:
    """The index as it is now. It is put back as git writes it: under its lock, and whole or not at all."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._index = repo.place.git_directory / "index"
        self._before = self._read()
        self._staged = self._before

    def staged(self) -> None:
        """The index is now as we have changed it."""
        self._staged = self._read()

    def had_conflicts(self) -> bool:
        """Whether what was staged were files in conflict. git notes in the index what it took for resolved, so that it
        need be asked only when there is such a note."""
        return _RESOLVED in (self._staged or b"") and bool(self._listing_of(self._before, "--unmerged"))

    def is_as_staged(self) -> bool:
        """By what it lists: git has written the times of the files anew before it asked the hooks."""
        return self._listing_of(self._staged, "--stage") == self._listing_of(self._read(), "--stage")

    def put_back(self) -> None:
        """No-op when there is nothing to put back, or when somebody else is changing the index or has done so.

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
                is_ours = False  # from here on it may be another git's
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


_COMMITTED = re.compile(r"\[(?:detached HEAD|\S+)(?: \(root-commit\))? ([0-9a-f]{40,64})\] ")
"""How git tells which commit it has made. HEAD may be at one that another git has made since."""


def checkout(repo: Repository, operation: Checkout) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words; then nothing has changed, unless it says so."""
    start = repo.commit_of(operation.start) if operation.start else None
    if operation.start and start is None:
        raise InvalidRequestError(f"There is no commit {operation.start!r} to start from: correct it.")
    new = ("--create", operation.branch, *([start] if start else [])) if operation.create else (operation.branch,)
    before = repo.head().branch
    try:
        repo.done(repo.top, "switch", "--quiet", "--no-guess", "--no-overwrite-ignore", *new)
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
            if answer.ok or not _was_overtaken(answer, copy):
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
        raise _refused(repo, answer.error.strip() or answer.output.strip()) or refusal(answer)
    head = repo.head()
    named = _COMMITTED.match(answer.output)
    return {"commit": named[1] if named else head.commit, "branch": head.branch}


def _stage_and_commit(repo: Repository, operation: Commit, copy: IndexCopy | None) -> GitOutput:
    if copy is not None:
        _stage(repo, operation, copy)
    return _commit(repo, operation)


def _was_overtaken(answer: GitOutput, copy: IndexCopy | None) -> bool:
    """By another git in the same tree, so that nothing is committed: it moved the branch, or it had read the index
    before it was changed here and has written it since."""
    if "cannot lock ref 'HEAD': is at" in answer.error:
        return True
    return copy is not None and "did not match any file(s) known to git" in answer.error and not copy.is_as_staged()


def _commit(repo: Repository, operation: Commit) -> GitOutput:
    only = ("--only", "--", *operation.files) if operation.files else ()
    words = ("-c", "core.abbrev=no", "commit", "--file=-", "--cleanup=whitespace", *only)
    return repo.act(repo.directory, *words, stdin=operation.message.encode(errors="replace"))


def _stage(repo: Repository, operation: Commit, copy: IndexCopy) -> None:
    where, what = (repo.directory, ("--", *operation.files)) if operation.files else (repo.top, ("--all",))
    answer = repo.act(where, "add", *what)
    copy.staged()
    if not answer.ok:
        raise refusal(answer)
    if copy.had_conflicts():
        raise WorkspaceError(
            "Files are in conflict; to stage them would commit the conflict's marks. Resolve them, stage them with "
            "`git add`, then commit what is staged."
        )


def _refused(repo: Repository, words: str) -> InvalidRequestError | None:
    nothing = not words or "nothing to commit" in words or "nothing added to commit" in words or "no changes" in words
    if nothing and repo.ask("diff", "--cached", "--quiet").ok:
        return InvalidRequestError(
            "There is nothing to commit: nothing is staged. Give files, or all true for every change."
        )
    return None


_UNKNOWN = {"missing", "ambiguous"}


@dataclass(frozen=True, slots=True)
class _PlannedWrite:
    creation: CreateRef
    commit: str


def create(creations: Sequence[tuple[Repository, CreateRef]]) -> list[GitResponse]:
    """All in one repository, with different names; outcomes in the order given. Raises ``WorkspaceError``."""
    starts = _find_starts(creations)
    planned = {
        creation.ref: _PlannedWrite(creation, commit)
        for repo, creation in creations
        if (commit := starts[repo, creation.start, creation.kind]) is not None
    }
    refused = _make(creations[0][0], list(planned.values())) if planned else {}
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


_Start = tuple[Repository, str | None, str]
"""HEAD is another one in each working tree; a tag may be of what is no commit."""


def _find_starts(creations: Iterable[tuple[Repository, CreateRef]]) -> dict[_Start, str | None]:
    """What each starts at; None: there is no such commit. git is asked once for all of a working tree, if need be."""
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
    """The hash that each name stands for."""
    told = repo.told("cat-file", "--batch-check=%(objectname)", stdin="".join(f"{name}\n" for name in names).encode())
    words = [line.rpartition(" ")[2] for line in told.split("\n")[:-1]]
    return [None if word in _UNKNOWN else word for word in words]


def _make(repo: Repository, planned: Sequence[_PlannedWrite]) -> dict[str, WorkspaceError]:
    """Makes them; those that git refused, by ref."""
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
            refused[each.creation.ref] = WorkspaceError(f"The {kind} {name} is there already: choose another name.")
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
    """Why git made none of them; None when it made all."""
    repository = repo.place.common_directory
    steps = "".join(f"create {each.creation.ref}\0{each.commit}\0" for each in planned)
    command = (f"--git-dir={repository}", "update-ref", "-m", "branch: Created by phalanx", "--stdin", "-z")
    answer = repo.act(repository, *command, stdin=steps.encode())
    return None if answer.ok else refusal(answer)


QUICK_S = 0.5
"""So long the writes of one call go on; then the others get their turn."""
_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


class GitExecutor:
    """Holds nothing between calls and may be used from several threads. ``environment`` is the agents'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._git = GitRunner(environment)
        self._fingerprinter = Fingerprinter(environment)
        self._identity = {name: environment[name] for name in _IDENTITY if name in environment}

    def places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        return tuple(map(_place, directories))

    def read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """Each answered, or found unchanged."""
        return ReadBatch(self._fingerprinter, self._repo).answer(asked)

    def write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        """New branches and tags first, those of a repository in one transaction; then all else one after another.

        What was not begun because the others took their time is None.
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
            made = _created([(repos[asked[number].directory], asked[number].operation) for number in numbers])
            # The first one's ``Repository`` runs the git for all of them.
            made[0] = replace(made[0], retries=repos[asked[numbers[0]].directory].retries)
            outcomes.update(zip(numbers, made, strict=True))
        took_s = (time.monotonic() - begun) / max(1, len(asked))
        return with_times([outcomes[number] for number in range(len(asked))], took_s)

    def _repo(self, directory: Path) -> Repository:
        place = find_place(directory)
        if place is None:
            raise InvalidRequestError(f"{directory} is in no git repository: give a directory of one.")
        return Repository(self._git, place, directory, self._identity)

    def _write(self, asked: GitRequest) -> GitResponse:
        repo = self._repo(asked.directory)
        try:
            outcome = GitResponse(result=_done(repo, asked.operation))
        except merge.MergeConflictError as conflict:
            outcome = GitResponse(error=to_wire(conflict), result={"conflicts": conflict.files})
        except Exception as error:  # noqa: BLE001 - as in _timed
            outcome = failed(error)
        return replace(outcome, retries=repo.retries)


def _place(directory: Path) -> RepositoryPaths | None:
    """None also when it may not be looked at: then whoever works there is told so."""
    try:
        return find_place(directory)
    except OSError:
        return None


def _created(wanted: Sequence[tuple[Repository, Operation]]) -> list[GitResponse]:
    creations = [(repo, operation) for repo, operation in wanted if isinstance(operation, CreateRef)]
    if len(creations) < len(wanted):
        raise TypeError("only new branches and tags go together")
    try:
        return create(creations)
    except Exception as error:  # noqa: BLE001 - as in _timed
        return [failed(error) for _ in creations]


def _done(repo: Repository, operation: Read | Write) -> dict[str, Any]:
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
            raise TypeError(f"{type(operation).__name__} is no write that stands by itself")


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
    except Exception as error:  # noqa: BLE001 - other callers' operations go in the same call
        outcome = failed(error)
    return with_time(outcome, time.monotonic() - begun)
