"""A repository with a member's working tree, and the executor that runs git there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.git.executor import GitExecutor
from actors.git.model import Commit, CreateRef, Fingerprint, GitRequest, GitResponse, Operation, Read
from tests.projects import git, make_repository

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Project:
    """``tree`` is a working tree of ``repository`` on a branch of its own."""

    base: Path
    executor: GitExecutor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "executor", GitExecutor(self.environment))

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.base / "user"), "PATH": os.environ["PATH"]}

    @property
    def repository(self) -> Path:
        return self.base / "project"

    @property
    def tree(self) -> Path:
        return self.base / "tree"

    def git(self, *words: str, at: Path | None = None) -> str:
        return git(at or self.repository, *words)

    def commit(self, name: str, content: str = "text\n", *, at: Path | None = None) -> str:
        path = (at or self.repository) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.git("add", "--force", "--", name, at=at)
        self.git("commit", "-q", "-m", f"Add {name}", at=at)
        return self.git("rev-parse", "HEAD", at=at)

    def read(self, operation: Read, *, at: Path | None = None, known: Fingerprint | None = None) -> GitResponse:
        (outcome,) = self.read_all(GitRequest(directory=at or self.repository, operation=operation, known=known))
        return outcome

    def read_all(self, *asked: GitRequest) -> tuple[GitResponse, ...]:
        return self.executor.read(asked)

    def write(self, operation: Operation, *, at: Path | None = None) -> GitResponse:
        (outcome,) = self.executor.write([GitRequest(directory=at or self.repository, operation=operation)])
        assert outcome is not None
        return outcome

    def create(self, *creations: CreateRef, at: Path | None = None) -> list[GitResponse]:
        asked = [GitRequest(directory=at or self.repository, operation=each) for each in creations]
        return [outcome for outcome in self.executor.write(asked) if outcome is not None]

    def hook(self, name: str, script: str) -> None:
        path = self.repository / ".git/hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def photograph(self) -> dict[str, bytes | str]:
        """All of the working trees and all that git keeps but its objects."""
        found: dict[str, bytes | str] = {"status": self.git("status", "--porcelain=v2", "--branch")}
        for root in (self.repository, self.tree):
            for path in root.rglob("*"):
                if path.is_file() and "objects" not in path.parts:
                    found[str(path)] = path.read_bytes()
        return found


@pytest.fixture
def project(short_tmp: Path) -> Project:
    made = Project(short_tmp)
    (short_tmp / "user").mkdir()
    make_repository(made.repository)
    made.git("worktree", "add", "-q", "-b", "member", str(made.tree))
    return made


def count_gits(project: Project) -> Callable[[], int]:
    """Tells how many gits the executor has started since this was called."""
    trace = project.base / "trace"
    (project.base / "user/.gitconfig").write_text(f"[trace2]\n\tnormalTarget = {trace}\n")
    return lambda: trace.read_text().count(" start ") if trace.exists() else 0


ALL = Commit(message="All of it", files=(), everything=True)


def branch(name: str, start: str | None = None) -> CreateRef:
    return CreateRef(kind="branch", name=name, start=start)


def result(outcome: GitResponse) -> dict[str, object]:
    assert outcome.error is None, outcome.error
    assert outcome.result is not None
    return dict(outcome.result)


def refusal(outcome: GitResponse) -> str:
    assert outcome.error is not None, outcome.result
    return outcome.error["message"]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.01)
