"""Answers the operations that only look: all that one call of the host asks for, in three steps.

First everything is looked at that the answers depend on, then git is asked, then everything is looked at once more; so
what several answers depend on is looked at twice in all. A list of branches or tags that is asked in several working
trees of a repository is made by one git. ``GitExecutor`` makes a ``ReadBatch`` for each call.
"""

from __future__ import annotations

import marshal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError
from actors.git.fingerprint import FingerprintedRead, Fingerprinter, Parts, under_way
from actors.git.layout import read_head
from actors.git.merge import predict
from actors.git.model import (
    READS,
    GitRequest,
    GitResponse,
    ListRefs,
    ListWorktrees,
    PredictMerge,
    Read,
    ReadDiff,
    ReadLog,
    ReadStatus,
    failed,
    with_time,
)
from actors.git.repository import Repository

_FIELDS = {"commit": "%H", "parents": "%P", "author": "%an", "email": "%ae", "date": "%aI", "subject": "%s"}


def _log(repo: Repository, read: ReadLog) -> dict[str, Any]:
    answer = repo.ask(
        *("-c", "log.follow=false", "log", "-z", f"--max-count={read.limit}"),
        *("--no-color", "--no-show-signature", "--no-decorate", f"--format=tformat:{'%x00'.join(_FIELDS.values())}"),
        *("--end-of-options", read.revision or "HEAD", "--", *read.files),
    )
    if not answer.ok and read.revision is None and repo.commit_of("HEAD") is None:
        return {"commits": []}
    rows = _rows(repo.output_of(answer), len(_FIELDS))
    return {"commits": [{**dict(zip(_FIELDS, row, strict=True)), "parents": row[1].split()} for row in rows]}


KINDS = ("staged", "unstaged", "untracked", "conflicted")
"""Of paths in the result of a status."""
MOST_PATHS = 500
"""Of each kind in a result; the numbers count all."""
COMMAND = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignored=matching")


def read_porcelain(output: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The result, and the paths that git ignores."""
    head: dict[str, str] = {}
    paths: dict[str, list[str]] = {kind: [] for kind in KINDS}
    ignored = []
    entries = iter(output.split("\0")[:-1])
    for entry in entries:
        match entry[:1]:
            case "#":
                name, _, value = entry[2:].partition(" ")
                head[name] = value
            case "?":
                paths["untracked"].append(entry[2:])
            case "!":
                ignored.append(entry[2:])
            case _:
                _read_change(entry, entries, paths)
    return {**_branch(head), **_shown(paths)}, frozenset(ignored)


def _read_change(entry: str, entries: Iterator[str], paths: dict[str, list[str]]) -> None:
    """``1 XY sub mH mI mW hH hI path``; ``2`` has a score before the path and the old path as an entry of its own."""
    kind, states = entry[0], entry[2:4]
    if kind == "u":
        paths["conflicted"].append(entry.split(" ", 10)[10])
        return
    path = entry.split(" ", 9 if kind == "2" else 8)[-1]
    if kind == "2":
        next(entries)
    if states[0] != ".":
        paths["staged"].append(path)
    if states[1] != ".":
        paths["unstaged"].append(path)


def _branch(head: dict[str, str]) -> dict[str, Any]:
    ahead, _, behind = head.get("branch.ab", "").partition(" ")
    name, commit = head.get("branch.head"), head.get("branch.oid")
    return {
        "branch": None if name == "(detached)" else name,
        "commit": None if commit == "(initial)" else commit,
        "upstream": head.get("branch.upstream"),
        "ahead": int(ahead) if ahead else None,
        "behind": -int(behind) if behind else None,
    }


def _shown(paths: dict[str, list[str]]) -> dict[str, Any]:
    counts = {kind: len(found) for kind, found in paths.items()}
    shown: dict[str, Sequence[str]] = {kind: found[:MOST_PATHS] for kind, found in paths.items()}
    return {"clean": not any(counts.values()), "counts": counts, **shown}


MOST_PATCH_CHARACTERS = 100_000
_MOST_DIFF_BYTES = 4_000_000
"""Of numbers and patch together: the process that reads them serves all agents of its host."""
_REF_FIELDS = ("refname:lstrip=2", "objectname", "*objectname", "upstream:short", "worktreepath", "contents:subject")
_NONE_IGNORED: frozenset[str] = frozenset()


def answer(repo: Repository, read: Read) -> tuple[dict[str, Any], frozenset[str]]:
    """Raises ``WorkspaceError`` or ``InvalidRequestError``."""
    match read:
        case ReadStatus():
            return _status(repo)
        case ListRefs():
            return listed(repo, read, list_refs(repo, read)), _NONE_IGNORED
        case ReadLog():
            return _log(repo, read), _NONE_IGNORED
        case ReadDiff():
            return _diff(repo, read), _NONE_IGNORED
        case ListWorktrees():
            return _list_worktrees(repo), _NONE_IGNORED
        case PredictMerge():
            return predict(repo, read.branch), _NONE_IGNORED


def _status(repo: Repository) -> tuple[dict[str, Any], frozenset[str]]:
    told = repo.output_of(repo.git.run(repo.top, *COMMAND))
    result, ignored = read_porcelain(told)
    return {**result, "underWay": under_way(repo.place)}, ignored


def list_refs(repo: Repository, read: ListRefs) -> list[dict[str, str]]:
    """All branches or tags: the same in every working tree."""
    place = "refs/heads" if read.kind == "branch" else "refs/tags"
    told = repo.told("for-each-ref", "--format=" + "".join(f"%({field})%00" for field in _REF_FIELDS), "--", place)
    # git ends each with a newline, which then stands before the next one's name.
    rows = _rows(told.removesuffix("\n"), len(_REF_FIELDS))
    return [
        {"name": name.removeprefix("\n"), "commit": peeled or commit, "subject": subject, **_of_branch(upstream, tree)}
        for name, commit, peeled, upstream, tree, subject in rows
    ]


def listed(repo: Repository, read: ListRefs, found: list[dict[str, str]]) -> dict[str, Any]:
    """What ``list_refs`` found, as it is told in one working tree."""
    if read.kind == "tag":
        return {"tags": found}
    current = repo.branch()
    return {"current": current if any(each["name"] == current for each in found) else None, "branches": found}


def _of_branch(upstream: str, tree: str) -> dict[str, str]:
    return {name: value for name, value in (("upstream", upstream), ("worktree", tree)) if value}


def _diff(repo: Repository, read: ReadDiff) -> dict[str, Any]:
    """Numbers of each file, and the patch, which is cut where it is too long."""
    if repo.place.top is None and not (read.base and read.head):
        raise InvalidRequestError("A bare repository has no files: give the diff a base and a head.")
    against = [revision for revision in (read.base, read.head) if revision is not None]
    answer = repo.ask(
        *("diff", "-z", "--numstat", "--patch", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
        *("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--submodule=short"),
        *(["--cached"] if read.staged else []),
        *("--end-of-options", *against, "--", *read.files),
        most_bytes=_MOST_DIFF_BYTES,
    )
    numbers, patched, patch = repo.output_of(answer).partition("\0\0")
    entries = numbers.split("\0")
    if answer.is_cut and not patched:
        entries.pop()  # it ends anywhere
    return {
        "files": [_numbered(entry) for entry in entries if entry],
        "patch": patch[:MOST_PATCH_CHARACTERS],
        "truncated": answer.is_cut or len(patch) > MOST_PATCH_CHARACTERS,
    }


def _numbered(entry: str) -> dict[str, Any]:
    """``added TAB deleted TAB path``, with dashes for a binary file."""
    added, deleted, path = entry.split("\t", 2)
    if added == "-":
        return {"path": path, "binary": True}
    return {"path": path, "added": int(added), "deleted": int(deleted)}


def _list_worktrees(repo: Repository) -> dict[str, Any]:
    told = repo.told("worktree", "list", "--porcelain", "-z")
    blocks = (block.split("\0") for block in told.split("\0\0") if block)
    return {"worktrees": [_worktree(lines) for lines in blocks]}


def _worktree(lines: list[str]) -> dict[str, Any]:
    about = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    branch = about.get("branch", "").removeprefix("refs/heads/")
    return {"path": about["worktree"], "commit": about.get("HEAD"), "branch": branch or None, "bare": "bare" in about}


def _rows(told: str, width: int) -> Iterator[tuple[str, ...]]:
    """Fields that each end in a zero byte, ``width`` to a row."""
    fields = iter(told.split("\0")[:-1])
    return zip(*([fields] * width), strict=True)


LARGEST_KEPT = 100_000
"""Bytes: the supervisor keeps many answers, and holds all of them in memory."""


@dataclass(eq=False, slots=True)
class _GitRead:
    """``read`` is what git is asked: a log of HEAD as that of the commit which HEAD is at, where that is seen without
    git, because it never changes."""

    asked: GitRequest
    repo: Repository
    read: Read
    watching: FingerprintedRead | None = None
    result: dict[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    outcome: GitResponse | None = None
    took_s: float = 0.0


class ReadBatch:
    def __init__(self, fingerprinter: Fingerprinter, repository_of: Callable[[Path], Repository]) -> None:
        self._fingerprinter = fingerprinter
        self._repository_of = repository_of
        self._repositories: dict[Path, Repository] = {}
        self._since_ns = time.time_ns()
        self._before: Parts = {}
        self._after: Parts = {}

    def answer(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """Each answered, or found unchanged; one that fails fails alone."""
        begun = [self._begin(each) for each in asked]
        questions = [each for each in begun if isinstance(each, _GitRead)]
        for together in _groups(questions):
            with _own(*together):
                _ask(together)
        for question in questions:
            with _own(question):
                question.outcome = question.outcome or self._told(question)
        return tuple(each if isinstance(each, GitResponse) else _outcome(each) for each in begun)

    def _begin(self, asked: GitRequest) -> _GitRead | GitResponse:
        begun = time.monotonic()
        try:
            question = self._looked_at(asked)
        except Exception as error:  # noqa: BLE001 - as in _own
            question = failed(error)
        took_s = time.monotonic() - begun
        if isinstance(question, GitResponse):
            return with_time(question, took_s)
        question.took_s = took_s
        return question

    def _looked_at(self, asked: GitRequest) -> _GitRead | GitResponse:
        repo = self._repositories.get(asked.directory)
        if repo is None:
            repo = self._repositories[asked.directory] = self._repository_of(asked.directory)
        if asked.known is not None and self._fingerprinter.holds(repo.place, asked.known, self._before):
            return GitResponse(unchanged=True)
        if not isinstance(asked.operation, READS):
            raise TypeError(f"{type(asked.operation).__name__} does not only look")
        read = _pinned(repo, asked.operation)
        watching = self._fingerprinter.begin(repo.place, read, self._since_ns, self._before)
        return _GitRead(asked, repo, read, watching)

    def _told(self, question: _GitRead) -> GitResponse:
        result, watching = question.result, question.watching
        if watching is None or len(marshal.dumps(result)) > LARGEST_KEPT or not _is_still_at(question):
            return GitResponse(result=result)
        changed = chain.from_iterable(result[kind] for kind in KINDS) if isinstance(question.read, ReadStatus) else ()
        return GitResponse(result=result, fingerprint=watching.fingerprint(question.ignored, changed, self._after))


@contextmanager
def _own(*questions: _GitRead) -> Iterator[None]:
    """What goes wrong is these questions' own: other callers' go in the same call. So is the time that it takes."""
    begun = time.monotonic()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is
        for question in questions:
            question.outcome = failed(error)
    took_s = (time.monotonic() - begun) / len(questions)
    for question in questions:
        question.took_s += took_s


def _groups(questions: Iterable[_GitRead]) -> Iterable[list[_GitRead]]:
    """Those that one git can answer: the same list in several working trees of a repository."""
    groups: dict[object, list[_GitRead]] = {}
    for question in questions:
        is_list = isinstance(question.read, ListRefs)
        key = (question.read, question.repo.place.common_directory) if is_list else id(question)
        groups.setdefault(key, []).append(question)
    return groups.values()


def _ask(together: Sequence[_GitRead]) -> None:
    first = together[0]
    if isinstance(first.read, ListRefs):
        found = list_refs(first.repo, first.read)
        for question in together:
            question.result = listed(question.repo, first.read, found)
    else:
        first.result, first.ignored = answer(first.repo, first.read)


def _pinned(repo: Repository, read: Read) -> Read:
    if not isinstance(read, ReadLog) or read.revision is not None:
        return read
    return replace(read, revision=read_head(repo.place).commit)


def _is_still_at(question: _GitRead) -> bool:
    """HEAD, at the commit that it was at."""
    read = question.asked.operation
    return not isinstance(read, ReadLog) or _pinned(question.repo, read) == question.read


def _outcome(question: _GitRead) -> GitResponse:
    return with_time(question.outcome or GitResponse(), question.took_s)
