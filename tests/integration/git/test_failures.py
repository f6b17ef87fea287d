"""What goes wrong with one operation is told of it alone: those of other callers that go with it are done and told."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from actors.git import reads
from actors.git.layout import find_place
from actors.git.model import Commit, GitRequest, Merge, ReadDiff, ReadLog, ReadStatus
from actors.git.process import GitOutput, GitRunner
from actors.git.repository import Repository
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

    first, second, third = project.executor.write(
        [
            GitRequest(
                directory=project.repository, operation=Commit(message="1", files=("README.md",), everything=False)
            ),
            GitRequest(directory=project.tree, operation=ALL),
            GitRequest(directory=project.repository, operation=branch("new")),
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

    monkeypatch.setattr("actors.git.executor.create", broken)
    (project.repository / "README.md").write_text("changed\n")

    made, done = project.executor.write(
        [
            GitRequest(directory=project.repository, operation=branch("new")),
            GitRequest(directory=project.repository, operation=ALL),
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

    monkeypatch.setattr("actors.git.fingerprint.os.scandir", vanishing)

    outcome = project.read(ReadStatus())

    assert result(outcome)["untracked"] == ["below/file"]
    assert outcome.fingerprint is None


def test_a_status_is_told_though_a_directory_may_not_be_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir
    (project.repository / "data").mkdir()

    def guarded(path: str) -> object:
        if path.endswith("/data"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("actors.git.fingerprint.os.scandir", guarded)

    outcome = project.read(ReadStatus())

    assert result(outcome)["clean"]
    assert outcome.fingerprint is None


def test_names_and_contents_that_are_no_utf8_can_be_sent(project: Project) -> None:
    (project.repository / "README.md").write_bytes(b"caf\xe9\n")
    for tree in (project.repository, project.tree):
        Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9")).write_text(str(tree))
        project.git("add", "--all", at=tree)
        project.git("commit", "-q", "-m", "x", at=tree)
    Path(os.fsdecode(os.fsencode(project.repository) + b"/th\xe9")).write_text("x")
    (project.repository / "README.md").write_bytes(b"th\xe9\n")

    status = project.read(ReadStatus())
    diff = project.read(ReadDiff(base=None, head=None, staged=False))
    conflict = project.write(Merge(branch="member", message=None))

    assert result(status)["untracked"] == ["th\ufffd"]
    assert "+th\ufffd" in str(result(diff)["patch"])
    assert conflict.result == {"conflicts": ["caf\ufffd"]}
    for outcome in (status, diff, conflict):
        json.dumps([outcome.result, outcome.error], ensure_ascii=False).encode()


def test_a_start_with_an_odd_line_end_fails_alone(project: Project) -> None:
    made = project.create(branch("a", "x\u2028main\x85y"), branch("b", "main"), branch("c", "member"))

    assert "There is no commit" in refusal(made[0])
    assert [result(each)["created"] for each in made[1:]] == [True, True]


def test_of_a_huge_diff_only_the_beginning_is_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_MOST_DIFF_BYTES", 1_000)
    for name in ("a", "b"):
        (project.repository / name).write_text("line\n" * 100_000)
    project.git("add", "--all")

    cut = result(project.read(ReadDiff(base=None, head=None, staged=True)))
    monkeypatch.setattr(reads, "_MOST_DIFF_BYTES", 20)
    short = result(project.read(ReadDiff(base=None, head=None, staged=True)))

    assert cut["files"] == [{"path": name, "added": 100_000, "deleted": 0} for name in ("a", "b")]
    assert len(str(cut["patch"])) < 1_000
    assert (cut["truncated"], short["truncated"]) == (True, True)
    assert short["files"] == [{"path": "a", "added": 100_000, "deleted": 0}]


def test_where_refs_are_kept_in_tables_git_is_asked_for_the_branch(project: Project) -> None:
    """As git writes HEAD then; the table itself needs a newer git."""
    place = find_place(project.repository)
    assert place is not None
    repo = Repository(GitRunner(project.environment), place, project.repository, {})
    (project.repository / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")
    asked = repo.read
    repo.read = lambda *words, **more: (  # type: ignore[method-assign]
        GitOutput(status=0, output="main\n", error="") if words[0] == "symbolic-ref" else asked(*words, **more)
    )

    assert repo.head().branch == "main"


def test_whoever_git_does_not_know_is_told_how_to_make_a_name_known(project: Project) -> None:
    project.git("config", "--remove-section", "user")
    project.git("config", "user.useConfigOnly", "true")
    (project.repository / "new").write_text("x")

    told = refusal(project.write(ALL))

    assert "Please tell me who you are" in told
    assert "git config --global user.email" in told
    assert "auto-detection is disabled" in told


def test_the_log_of_a_commit_that_cannot_be_read_fails_alone(project: Project) -> None:
    commit = project.commit("a", at=project.tree)
    (project.repository / ".git/objects" / commit[:2] / commit[2:]).unlink()
    log = ReadLog(revision=None, limit=3)
    trees = (project.repository, project.tree)
    here, there = project.executor.read([GitRequest(directory=each, operation=log) for each in trees])

    assert here.error is None
    assert there.error is not None
