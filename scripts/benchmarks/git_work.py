"""What the git table measures: a repository with the working trees of ten members, and batches of operations on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.requests import GitOperation
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """``changed`` are the working trees in which a file changes before each round."""

    what: str
    aim: int | None
    """Per cent less time than one by one."""
    changed: Callable[[Site], Sequence[Path]]
    operations: Callable[[Site, int], list[GitOperation]]


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


def _in_turns(members: Sequence[Sequence[GitOperation]]) -> list[GitOperation]:
    return [each for step in zip(*members, strict=True) for each in step]


def _none(site: Site) -> Sequence[Path]:
    return ()


def _project(site: Site) -> Sequence[Path]:
    return (site.repository,)


def _members(site: Site) -> Sequence[Path]:
    return site.trees


WORKS = (
    Work(what="20 status of one project, just changed", aim=95, changed=_project, operations=_of_project),
    Work(what="20 status of one project", aim=95, changed=_none, operations=_of_project),
    Work(what="20 status of ten members, just changed", aim=None, changed=_members, operations=_of_members),
    Work(what="20 status of ten members", aim=95, changed=_none, operations=_of_members),
    Work(what="50 branch", aim=90, changed=_none, operations=_branches),
    Work(what="100 mixed", aim=80, changed=_members, operations=_polled),
    Work(what="100 mixed, hardly two alike", aim=None, changed=_members, operations=_different),
)
