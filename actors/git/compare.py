"""Compares branches of a repository and changes nothing: what work each has, and which would conflict with which.

Only branches that change the same file are compared with each other, or one a file where the other has a directory. So
the cost does not grow with the square of their number. A merge finds the rare conflict beyond that when it merges.

``Host`` calls ``Comparer`` in threads for ``list``, and ``BranchMerger`` uses it before it begins. Two commits compare
the same for ever, so answers are kept by commits: an unchanged team costs one git.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations, islice
from pathlib import Path
from typing import Any, TypeVar

from cachetools import LRUCache

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.layout import find_place
from actors.git.model import BranchWork, Comparison, ComparisonReport, Conflict, RepositoryPaths, WorkBranch, sendable
from actors.git.process import GitRunner
from actors.git.repository import Repository, refusal

_KEPT = 200_000
"""Answers and names of files in them."""
_MOST_AT_ONCE = 100
"""Pairs that one git compares: it must be done within its time limit."""
_CLEAN, _CONFLICTING = "1", "0"
_BASE = "refs/heads/"
"""Before the name of a base, which is no name of an instance."""
_Pair = tuple[str, str]
_Answer = TypeVar("_Answer")


class Comparer:
    """May be used from several threads. ``environment``: the agents'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._git = GitRunner(environment)
        self._conflicts: LRUCache[_Pair, tuple[str, ...]] = LRUCache(_KEPT, lambda files: 1 + len(files))
        self._work: LRUCache[_Pair, BranchWork] = LRUCache(_KEPT, lambda work: 1 + len(work.files))
        self._lock = threading.Lock()

    def compare(self, asked: Comparison) -> ComparisonReport:
        """Raises ``WorkspaceError`` in git's words."""
        repo = whole_repository(self._git, asked.git_directory, {})
        by_tree = {tree: self._base(asked.git_directory, tree) for tree in dict.fromkeys(asked.bases)}
        bases = {each.name: by_tree[tree] for each, tree in zip(asked.branches, asked.bases, strict=True)}
        named = [WorkBranch(name=_BASE + base, branch=base) for base in filter(None, by_tree.values())]
        commits = commits_of(repo, [*asked.branches, *named])
        base_of_each = {name: commits[_BASE + base] for name, base in bases.items() if base and _BASE + base in commits}
        work = {name: self.work(repo, base, commits[name]) for name, base in base_of_each.items() if name in commits}
        return ComparisonReport(
            bases={name: sendable(bases[name]) for name in work},
            work=work,
            conflicts=self.conflicts(
                repo, base_of_each, {name: commits[name] for name, done in work.items() if done.ahead}, work
            ),
        )

    def conflicts(
        self, repo: Repository, bases: Mapping[str, str], commits: Mapping[str, str], work: Mapping[str, BranchWork]
    ) -> tuple[Conflict, ...]:
        """Between the branches ``commits``, and of each with the commit that is its base."""
        of_base = [(("", name), (bases[name], commit)) for name, commit in commits.items() if work[name].behind]
        near = _near({name: work[name] for name in commits})
        return self.between(repo, [*of_base, *(((one, other), (commits[one], commits[other])) for one, other in near)])

    def between(self, repo: Repository, asked: Sequence[tuple[_Pair, _Pair]]) -> tuple[Conflict, ...]:
        """Of these pairs, each by names and by commits, those that conflict."""
        found = _predict(repo, {pair for _, pair in asked if self._kept(self._conflicts, pair) is None})
        for pair, files in found.items():
            self._keep(self._conflicts, pair, files)
        return tuple(
            Conflict(one=one, other=other, files=files)
            for (one, other), pair in asked
            if (files := found.get(pair) or self._kept(self._conflicts, pair) or ())
        )

    def _base(self, git_directory: Path, tree: Path) -> str | None:
        try:
            return base_of(self._git, git_directory, (tree,))
        except InvalidRequestError:
            return None

    def work(self, repo: Repository, base: str, commit: str) -> BranchWork:
        """What ``commit`` has that ``base`` does not."""
        found = self._kept(self._work, (base, commit))
        if found is None:
            counts = repo.read_output("rev-list", "--left-right", "--count", f"{base}...{commit}").split()
            behind, ahead = map(int, counts)
            found = BranchWork(ahead=ahead, behind=behind, files=_changed(repo, base, commit) if ahead else ())
            self._keep(self._work, (base, commit), found)
        return found

    def _kept(self, answers: LRUCache[_Pair, _Answer], pair: _Pair) -> _Answer | None:
        with self._lock:
            return answers.get(pair)

    def _keep(self, answers: LRUCache[_Pair, Any], pair: _Pair, answer: object) -> None:
        with self._lock, suppress(ValueError):  # it is larger than all that may be kept
            answers[pair] = answer


def _near(work: Mapping[str, BranchWork]) -> list[_Pair]:
    """The names of each two that change the same file, or one a file above a file of the other."""
    changing: dict[str, list[str]] = {}
    for name, done in work.items():
        for file in done.files:
            changing.setdefault(file, []).append(name)
    order = {name: number for number, name in enumerate(work)}
    found = {pair for names in changing.values() for pair in combinations(names, 2)}
    for file, names in changing.items():
        above = (changing.get(directory, ()) for directory in _directories(file))
        pairs = ((one, other) for others in above for other in others for one in names if one != other)
        found.update((one, other) if order[one] < order[other] else (other, one) for one, other in pairs)
    return sorted(found, key=lambda pair: (order[pair[0]], order[pair[1]]))


def _directories(file: str) -> Iterator[str]:
    """Above the file."""
    while file := os.path.dirname(file):  # noqa: PTH120 - many
        yield file


def whole_repository(git: GitRunner, git_directory: Path, identity: Mapping[str, str]) -> Repository:
    """The repository without any of its working trees."""
    place = RepositoryPaths(top=None, git_directory=git_directory, common_directory=git_directory)
    return Repository(git, place, git_directory, identity)


def base_of(git: GitRunner, git_directory: Path, trees: Collection[Path]) -> str:
    """The branch that all these working trees of the repository have checked out. Raises ``InvalidRequestError``."""
    branches: dict[str, Path] = {}
    for tree in trees:
        place = find_place(tree)
        if place is None or place.common_directory != git_directory:
            continue
        if place.top is not None and not tree.is_relative_to(place.top):  # a link has come in its place
            continue
        branch = Repository(git, place, tree, {}).head().branch
        if branch is None:
            raise InvalidRequestError(f"{tree} has no branch checked out.")
        branches.setdefault(branch, tree)
    if len(branches) == 1:
        return next(iter(branches))
    if not branches:
        raise InvalidRequestError(f"No working tree of {git_directory} tells which branch is meant.")
    told = " and ".join(f"{branch} (in {tree})" for branch, tree in list(branches.items())[:3])
    raise InvalidRequestError(f"They began from different branches, {told}.")


def commits_of(repo: Repository, branches: Sequence[WorkBranch]) -> dict[str, str]:
    """The commit of each, by name; without those whose branch is gone."""
    asked = [each.commit or f"refs/heads/{each.branch}" for each in branches]
    output = repo.read_output(
        *("cat-file", "--batch-check=%(objecttype) %(objectname)"),
        stdin="".join(f"{each}^{{commit}}\n" for each in asked).encode(errors="surrogateescape"),
    )
    rows = [line.split(" ") for line in output.split("\n")[:-1]]
    return {each.name: row[1] for each, row in zip(branches, rows, strict=True) if row[0] == "commit"}


def _changed(repo: Repository, base: str, commit: str) -> tuple[str, ...]:
    """Without a common commit: all files in which they differ."""
    common = repo.read("merge-base", base, commit)
    names = repo.read_output(
        *("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options"),
        *(common.output.split("\n")[0] if common.ok else base, commit),
    )
    return tuple(names.split("\0")[:-1])


def _predict(repo: Repository, pairs: Collection[_Pair]) -> dict[_Pair, tuple[str, ...]]:
    """The files in conflict of each pair, with one git for many."""
    found: dict[_Pair, tuple[str, ...]] = {}
    left = iter(sorted(pairs))
    while some := list(islice(left, _MOST_AT_ONCE)):
        lines = "".join(f"{one} {other}\n" for one, other in some).encode()
        answer = repo.read(
            *("merge-tree", "--write-tree", "--stdin", "-z", "--name-only", "--no-messages"),
            # git merges no such branches, and says so when asked to.
            "--allow-unrelated-histories",
            stdin=lines,
        )
        if "usage:" in answer.error:
            raise WorkspaceError("Telling conflicts beforehand needs git 2.39 or newer: update git.")
        if not answer.ok:
            raise refusal(answer)
        found.update(zip(some, _read_predictions(answer.output), strict=True))
    return found


def _read_predictions(output: str) -> Iterator[tuple[str, ...]]:
    """Each is a status, a tree, the files in conflict, and an empty field."""
    fields = iter(output.split("\0")[:-1])
    for status in fields:
        if status not in (_CLEAN, _CONFLICTING):
            raise WorkspaceError(f"git told of a merge what is not understood ({status[:40]!a}): update Phalanx.")
        next(fields)
        files = tuple(map(sendable, dict.fromkeys(iter(lambda: next(fields), ""))))
        yield files if status == _CONFLICTING else ()
