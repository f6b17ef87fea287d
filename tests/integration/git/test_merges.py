"""Merges: what they make, and that one which conflicts or is refused leaves nothing behind."""

from __future__ import annotations

import pytest

from actors.git.model import Merge, PredictMerge, ReadStatus
from tests.integration.git.conftest import ALL, Project, refusal, result


def test_conflicts_are_not_committed_with_their_marks(project: Project) -> None:
    project.commit("a", "main\n")
    project.commit("a", "member\n", at=project.tree)
    with pytest.raises(Exception, match="merge"):
        project.git("merge", "-q", "member")

    assert "in conflict" in refusal(project.write(ALL))
    assert result(project.read(ReadStatus()))["underWay"] == "merge"
    assert project.git("diff", "--name-only", "--diff-filter=U") == "a"


def test_a_merge_goes_forward_or_makes_a_commit_with_the_message(project: Project) -> None:
    project.commit("a", at=project.tree)
    forward = result(project.write(Merge(branch="member", message=None)))
    project.commit("b", at=project.tree)
    project.commit("c")
    merged = result(project.write(Merge(branch="member", message="Take b in")))
    again = result(project.write(Merge(branch="member", message=None)))

    assert (forward["fastForward"], forward["alreadyMerged"]) == (True, False)
    assert (merged["fastForward"], merged["commit"]) == (False, project.git("rev-parse", "HEAD"))
    assert project.git("log", "-1", "--format=%s") == "Take b in"
    assert again["alreadyMerged"]


def test_a_merge_that_conflicts_is_told_with_its_files_and_touches_nothing(project: Project) -> None:
    for name in ("a", "odd ü name"):
        project.commit(name, "main\n")
        project.commit(name, "member\n", at=project.tree)
    (project.repository / "README.md").write_text("uncommitted\n")
    before = project.photograph()

    outcome = project.write(Merge(branch="member", message=None))
    foreseen = result(project.read(PredictMerge(branch="member")))

    assert outcome.result == {"conflicts": ["a", "odd ü name"]}
    assert "nothing was touched" in refusal(outcome)
    assert (foreseen["clean"], foreseen["conflicts"]) == (False, ["a", "odd ü name"])
    assert project.photograph() == before


def test_a_merge_that_a_hook_refuses_is_taken_back(project: Project) -> None:
    project.commit("a", at=project.tree)
    project.commit("b")
    project.hook("pre-merge-commit", "exit 1")
    (project.repository / "README.md").write_text("uncommitted\n")
    before = project.git("status", "--porcelain=v2", "--branch")

    refusal(project.write(Merge(branch="member", message=None)))

    assert project.git("status", "--porcelain=v2", "--branch") == before
    assert result(project.read(ReadStatus()))["underWay"] is None
    assert (project.repository / "README.md").read_text() == "uncommitted\n"


def test_a_merge_over_changes_is_refused_and_keeps_them(project: Project) -> None:
    project.commit("README.md", "member\n", at=project.tree)
    (project.repository / "README.md").write_text("mine\n")

    assert "README.md" in refusal(project.write(Merge(branch="member", message=None)))
    assert (project.repository / "README.md").read_text() == "mine\n"
    assert "no branch 'nowhere'" in refusal(project.write(Merge(branch="nowhere", message=None)))
