"""The workloads of ``git_table``: a repository with working trees of ten members, and batches of operations on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.api.requests import GitOperation
from tests.projects import git, make_repository

_MEMBERS = 10
_FILES = 300
_COMMITS = 50


@dataclass(frozen=True, slots=True)
class Site:
    repository: Path
    trees: Sequence[Path]

    @classmethod
    def make(cls, directory: Path) -> Site:
        repository = make_repository(directory / "project")
        for number in range(_FILES):
            path = repository / f"d{number % 20}" / f"f{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{number}\n" * 20)
        git(repository, "add", ".")
        for number in range(_COMMITS):
            git(repository, "commit", "-q", "--allow-empty", "-m", f"Commit {number}")
        trees = [directory / f"member{number}" for number in range(_MEMBERS)]
        for tree in trees:
            git(repository, "worktree", "add", "-q", "-b", f"own/{tree.name}", str(tree))
        return cls(repository, trees)


@dataclass(frozen=True, slots=True)
class Bare:
    """One git as a shell would start it."""

    directory: Path
    words: Sequence[str]
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """``changed``: the working trees in which a file changes before each round."""

    what: str
    aim: int | None
    """Per cent less time than one by one."""
    changed: Callable[[Site], Sequence[Path]]
    operations: Callable[[Site, int], list[GitOperation]]
    gits: Callable[[Site, int], list[Bare]]
    """The gits that are necessary when earlier answers may be used only while they are valid."""


def operation(kind: Any, directory: Path, **params: Any) -> GitOperation:
    return GitOperation(type=kind, workspace_dir=str(directory), params=params)


def _of_project(site: Site, number: int) -> list[GitOperation]:
    return [operation("status", site.repository)] * 20


def _of_members(site: Site, number: int) -> list[GitOperation]:
    return [operation("status", tree) for tree in site.trees] * 2


def _branches(site: Site, number: int) -> list[GitOperation]:
    return [operation("branch", site.repository, branchName=f"new/{number}/{each}") for each in range(50)]


def _polled(site: Site, number: int) -> list[GitOperation]:
    """Five members that several ask for, as a team with managers does."""
    return _in_turns([list(_of_polled_member(tree, number)) for tree in site.trees[:5]])


def _of_polled_member(tree: Path, number: int) -> Iterator[GitOperation]:
    yield from [operation("status", tree)] * 5
    yield from [operation("log", tree)] * 2
    yield from (operation("branch", tree, branchName=f"polled/{number}/{tree.name}/{each}") for each in range(4))
    yield operation("commit", tree, message=f"Round {number}", all=True)
    yield from [operation("status", tree)] * 5
    yield from [operation("log", tree)] * 2
    yield operation("branch", tree)


def _different(site: Site, number: int) -> list[GitOperation]:
    return _in_turns([list(_of_member(tree, number)) for tree in site.trees])


def _of_member(tree: Path, number: int) -> Iterator[GitOperation]:
    yield operation("status", tree)
    yield operation("log", tree)
    yield operation("status", tree)
    yield operation("branch", tree, branchName=f"mixed/{number}/{tree.name}")
    yield operation("diff", tree)
    yield operation("commit", tree, message=f"Round {number}", all=True)
    yield operation("status", tree)
    yield operation("branch", tree)
    yield operation("log", tree)
    yield operation("status", tree)


_STATUS = ("status", "--porcelain=v2", "--branch")
_LOG = ("log", "--max-count=20", "--format=%H %P %an %ae %aI %s")
_LIST = ("for-each-ref", "--format=%(refname:short) %(objectname) %(worktreepath) %(contents:subject)", "refs/heads")


def _no_git(site: Site, number: int) -> list[Bare]:
    return []


def _status_of_project(site: Site, number: int) -> list[Bare]:
    return [Bare(site.repository, _STATUS)]


def _status_of_members(site: Site, number: int) -> list[Bare]:
    return [Bare(tree, _STATUS) for tree in site.trees]


def _one_transaction(site: Site, names: Sequence[str]) -> Bare:
    head = git(site.repository, "rev-parse", "HEAD")
    steps = "".join(f"create refs/heads/{name} {head}\n" for name in names)
    return Bare(site.repository, ("update-ref", "--stdin"), steps)


def _fifty_branches(site: Site, number: int) -> list[Bare]:
    return [_one_transaction(site, [f"new/{number}/{each}" for each in range(50)])]


def _gits_of_polled(site: Site, number: int) -> list[Bare]:
    names = [f"polled/{number}/{tree.name}/{each}" for tree in site.trees[:5] for each in range(4)]
    return [_one_transaction(site, names), *_around_commits(site.trees[:5], number), Bare(site.repository, _LIST)]


def _gits_of_different(site: Site, number: int) -> list[Bare]:
    names = [f"mixed/{number}/{tree.name}" for tree in site.trees]
    diffs = [Bare(tree, ("diff",)) for tree in site.trees]
    around = _around_commits(site.trees, number)
    return [_one_transaction(site, names), *diffs, *around, Bare(site.repository, _LIST)]


def _around_commits(trees: Sequence[Path], number: int) -> Iterator[Bare]:
    """A status and a log after each commit; the log before it is that after the commit before."""
    for tree in trees:
        yield from (Bare(tree, _STATUS), Bare(tree, ("add", "--all")))
        yield Bare(tree, ("-c", "gc.auto=0", "commit", "--quiet", "--message", f"Round {number}"))
        yield from (Bare(tree, _STATUS), Bare(tree, _LOG))


def _in_turns(members: Sequence[Sequence[GitOperation]]) -> list[GitOperation]:
    return [each for step in zip(*members, strict=True) for each in step]


WORKS = (
    Work("20 status of one project, just changed", 95, lambda site: [site.repository], _of_project, _status_of_project),
    Work("20 status of one project", 95, lambda site: [], _of_project, _no_git),
    Work("20 status of ten members, just changed", None, lambda site: site.trees, _of_members, _status_of_members),
    Work("20 status of ten members", 95, lambda site: [], _of_members, _no_git),
    Work("50 branch", 90, lambda site: [], _branches, _fifty_branches),
    Work("100 mixed", 80, lambda site: site.trees, _polled, _gits_of_polled),
    Work("100 mixed, hardly two alike", None, lambda site: site.trees, _different, _gits_of_different),
)
