"""What goes wrong with one operation is told of it alone: those of other callers that go with it are done and told."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext

import pytest

from actors.git.values import Asked, Commit, ReadStatus
from tests.integration.git.conftest import ALL, Project, branch, refusal, result


def _unreadable_index(project: Project) -> None:
    index = project.repository / ".git/worktrees/tree/index"
    index.unlink()
    index.mkdir()


def test_a_write_that_the_file_system_refuses_fails_alone(project: Project) -> None:
    for tree in (project.repository, project.tree):
        (tree / "README.md").write_text("changed\n")
    _unreadable_index(project)
    (project.repository / "b").write_text("b")

    first, second, third = project.hands.write(
        [
            Asked(directory=project.repository, operation=Commit(message="1", files=("README.md",), everything=False)),
            Asked(directory=project.tree, operation=ALL),
            Asked(directory=project.repository, operation=branch("new")),
        ]
    )

    assert first is not None
    assert second is not None
    assert third is not None
    assert result(first)["commit"] == project.git("rev-parse", "HEAD")
    assert "file system refused" in refusal(second)
    assert result(third)["created"]


def test_new_branches_where_the_file_system_refuses_fail_without_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(creations: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("actors.git.refs.create", broken)
    (project.repository / "README.md").write_text("changed\n")

    made, done = project.hands.write(
        [
            Asked(directory=project.repository, operation=branch("new")),
            Asked(directory=project.repository, operation=ALL),
        ]
    )

    assert made is not None
    assert "Permission denied" in refusal(made)
    assert done is None or result(done)["commit"]


@pytest.mark.parametrize("which", ["entry", "directory"])
def test_a_status_is_told_though_files_vanish_while_it_is_looked_at(
    project: Project, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    below = project.repository / "below"
    below.mkdir()
    (below / "file").write_text("x")
    scandir = os.scandir

    def vanishing(path: str) -> object:
        """Another removes it right before it is listed, or right after."""
        if path != str(below):
            return scandir(path)
        entries = list(scandir(path))
        shutil.rmtree(below)
        return nullcontext(entries) if which == "entry" else scandir(path)

    monkeypatch.setattr("actors.git.sight.os.scandir", vanishing)

    outcome = project.read(ReadStatus())

    assert result(outcome)["untracked"] == ["below/file"]
    assert outcome.proof is None


def test_a_status_is_told_though_a_directory_may_not_be_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir
    (project.repository / "data").mkdir()

    def guarded(path: str) -> object:
        if path.endswith("/data"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("actors.git.sight.os.scandir", guarded)

    outcome = project.read(ReadStatus())

    assert result(outcome)["clean"]
    assert outcome.proof is None
