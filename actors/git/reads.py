"""Answers the reads of one host call in three steps: fingerprint, ask git, fingerprint again.

``GitExecutor`` makes a ``ReadBatch`` for each call. What several answers depend on is looked at twice in all, and one
git process lists branches or tags for several working trees of a repository.
"""

from __future__ import annotations

import marshal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from actors.errors import InvalidRequestError
from actors.git.fingerprint import Fingerprinter, Parts
from actors.git.layout import read_head, under_way
from actors.git.merge import predict
from actors.git.model import (
    Fingerprint,
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
KINDS = ("staged", "unstaged", "untracked", "conflicted")
"""The kinds of paths in the result of a status."""
MOST_PATHS = 500
"""Paths of each kind in a result; ``counts`` counts all."""
COMMAND = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignored=matching")
MOST_PATCH_CHARACTERS = 100_000
_MOST_DIFF_BYTES = 4_000_000
"""For numbers and patch together, because the host's process holds them in memory for all agents."""
_REF_FIELDS = ("refname:lstrip=2", "objectname", "*objectname", "upstream:short", "worktreepath", "contents:subject")
_NONE_IGNORED: frozenset[str] = frozenset()
LARGEST_KEPT = 100_000
"""Bytes. The supervisor keeps many answers in memory."""


@dataclass(eq=False, slots=True)
class _GitRead:
    """One read in progress. ``read`` is the operation for git: where HEAD's commit is known without git, a log of HEAD
    becomes the log of that commit, which never changes."""

    asked: GitRequest
    repo: Repository
    read: Read
    begun: Fingerprint | None
    result: dict[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


class ReadBatch:
    """The reads of one host call. A failing one fails alone, because other callers' reads share the call."""

    def __init__(self, fingerprinter: Fingerprinter, repository_of: Callable[[GitRequest], Repository]) -> None:
        self._fingerprinter = fingerprinter
        self._repository_of = repository_of
        self._repositories: dict[object, Repository] = {}
        self._since_ns = time.time_ns()
        self._before: Parts = {}
        self._after: Parts = {}
        self._outcomes: dict[int, GitResponse] = {}
        self._took_s: defaultdict[int, float] = defaultdict(float)

    def answer(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        """Answers each request, or finds it unchanged."""
        reads: dict[int, _GitRead] = {}
        for number, each in enumerate(asked):
            with self._isolated(number):
                self._begin(number, each, reads)
        for numbers in _groups(reads):
            with self._isolated(*numbers):
                _ask([reads[number] for number in numbers])
        for number, read in reads.items():
            if number not in self._outcomes:
                with self._isolated(number):
                    self._outcomes[number] = self._respond(read)
        return tuple(with_time(self._outcomes[number], self._took_s[number]) for number in range(len(asked)))

    @contextmanager
    def _isolated(self, *numbers: int) -> Iterator[None]:
        """Assigns failure and duration to these reads alone."""
        begun = time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - other callers' reads share the call
            self._outcomes.update(dict.fromkeys(numbers, failed(error)))
        for number in numbers:
            self._took_s[number] += (time.monotonic() - begun) / len(numbers)

    def _begin(self, number: int, asked: GitRequest, reads: dict[int, _GitRead]) -> None:
        where = (asked.directory, asked.place)
        repo = self._repositories.get(where)
        if repo is None:
            repo = self._repositories[where] = self._repository_of(asked)
        if asked.known is not None and self._fingerprinter.holds(repo.place, asked.known, self._before):
            self._outcomes[number] = GitResponse(unchanged=True)
            return
        if not isinstance(asked.operation, Read):
            raise TypeError(f"{type(asked.operation).__name__} does not only look")
        read = _pinned(repo, asked.operation)
        begun = self._fingerprinter.begin(repo.place, read, self._since_ns, self._before)
        reads[number] = _GitRead(asked, repo, read, begun)

    def _respond(self, read: _GitRead) -> GitResponse:
        result = read.result
        if read.begun is None or len(marshal.dumps(result)) > LARGEST_KEPT or not _is_still_at(read):
            return GitResponse(result=result)
        changed = chain.from_iterable(result[kind] for kind in KINDS) if isinstance(read.read, ReadStatus) else ()
        fingerprint = self._fingerprinter.finish(
            read.repo.place, read.begun, self._since_ns, self._after, read.ignored, changed
        )
        return GitResponse(result=result, fingerprint=fingerprint)


def _groups(reads: Mapping[int, _GitRead]) -> Iterable[list[int]]:
    """Groups the reads that one git can answer: the same list in several working trees of a repository."""
    groups: dict[object, list[int]] = {}
    for number, each in reads.items():
        is_list = isinstance(each.read, ListRefs)
        groups.setdefault((each.read, each.repo.place.common_directory) if is_list else number, []).append(number)
    return groups.values()


def _ask(together: Sequence[_GitRead]) -> None:
    first = together[0]
    if not isinstance(first.read, ListRefs):
        first.result, first.ignored = answer(first.repo, first.read)
        return
    found = list_refs(first.repo, first.read)
    for each in together:
        each.result = listed(each.repo, first.read, found)


def _pinned(repo: Repository, read: Read) -> Read:
    if not isinstance(read, ReadLog) or read.revision is not None:
        return read
    return replace(read, revision=read_head(repo.place).commit)


def _is_still_at(read: _GitRead) -> bool:
    """Whether a log of HEAD still is the log of the same commit."""
    asked = read.asked.operation
    return not isinstance(asked, ReadLog) or _pinned(read.repo, asked) == read.read


def answer(
    repo: Repository, read: ReadStatus | ReadLog | ReadDiff | ListWorktrees | PredictMerge
) -> tuple[dict[str, Any], frozenset[str]]:
    """The result and the ignored paths. Raises ``WorkspaceError`` or ``InvalidRequestError``."""
    match read:
        case ReadStatus():
            return _status(repo)
        case ReadLog():
            return _log(repo, read), _NONE_IGNORED
        case ReadDiff():
            return _diff(repo, read), _NONE_IGNORED
        case ListWorktrees():
            return _list_worktrees(repo), _NONE_IGNORED
        case PredictMerge():
            return predict(repo, read.branch), _NONE_IGNORED


def _status(repo: Repository) -> tuple[dict[str, Any], frozenset[str]]:
    output = repo.output_of(repo.git.run(repo.top, *COMMAND))
    result, ignored = read_porcelain(output)
    return {**result, "underWay": under_way(repo.place.git_directory)}, ignored


def read_porcelain(output: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The result and the ignored paths."""
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


def list_refs(repo: Repository, read: ListRefs) -> list[dict[str, str]]:
    """All branches or tags, the same in every working tree."""
    place = "refs/heads" if read.kind == "branch" else "refs/tags"
    output = repo.read_output(
        "for-each-ref", "--format=" + "".join(f"%({field})%00" for field in _REF_FIELDS), "--", place
    )
    # git ends each row with a newline, which then precedes the next name.
    rows = _rows(output.removesuffix("\n"), len(_REF_FIELDS))
    return [
        {"name": name.removeprefix("\n"), "commit": peeled or commit, "subject": subject, **_of_branch(upstream, tree)}
        for name, commit, peeled, upstream, tree, subject in rows
    ]


def listed(repo: Repository, read: ListRefs, found: list[dict[str, str]]) -> dict[str, Any]:
    """The result of ``list_refs`` for one working tree."""
    if read.kind == "tag":
        return {"tags": found}
    current = repo.branch()
    return {"current": current if any(each["name"] == current for each in found) else None, "branches": found}


def _of_branch(upstream: str, tree: str) -> dict[str, str]:
    return {name: value for name, value in (("upstream", upstream), ("worktree", tree)) if value}


def _log(repo: Repository, read: ReadLog) -> dict[str, Any]:
    answer = repo.read(
        *("-c", "log.follow=false", "log", "-z", f"--max-count={read.limit}"),
        *("--no-color", "--no-show-signature", "--no-decorate", f"--format=tformat:{'%x00'.join(_FIELDS.values())}"),
        *("--end-of-options", read.revision or "HEAD", "--", *read.files),
    )
    if not answer.ok and read.revision is None and repo.commit_of("HEAD") is None:
        return {"commits": []}
    rows = _rows(repo.output_of(answer), len(_FIELDS))
    return {"commits": [{**dict(zip(_FIELDS, row, strict=True)), "parents": row[1].split()} for row in rows]}


def _diff(repo: Repository, read: ReadDiff) -> dict[str, Any]:
    """The numbers of each file, and the patch, cut when too long."""
    if repo.place.top is None and not (read.base and read.head):
        raise InvalidRequestError("A bare repository has no files: give the diff a base and a head.")
    against = [revision for revision in (read.base, read.head) if revision is not None]
    answer = repo.read(
        *("diff", "-z", "--numstat", "--patch", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
        *("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--submodule=short"),
        *(["--cached"] if read.staged else []),
        *("--end-of-options", *against, "--", *read.files),
        most_bytes=_MOST_DIFF_BYTES,
    )
    numbers, patched, patch = repo.output_of(answer).partition("\0\0")
    entries = numbers.split("\0")
    if answer.is_cut and not patched:
        entries.pop()  # it may be cut
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
    output = repo.read_output("worktree", "list", "--porcelain", "-z")
    blocks = (block.split("\0") for block in output.split("\0\0") if block)
    return {"worktrees": [_worktree(lines) for lines in blocks]}


def _worktree(lines: list[str]) -> dict[str, Any]:
    about = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    branch = about.get("branch", "").removeprefix("refs/heads/")
    return {"path": about["worktree"], "commit": about.get("HEAD"), "branch": branch or None, "bare": "bare" in about}


def _rows(output: str, width: int) -> Iterator[tuple[str, ...]]:
    """Rows of ``width`` fields that each end in a zero byte."""
    fields = iter(output.split("\0")[:-1])
    return zip(*([fields] * width), strict=True)
