"""Merges: what they make, and that one which conflicts or is refused, and what an agent has begun, stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.git import repository
from actors.git.model import Checkout, Commit, DeleteBranch, Merge, Operation, PredictMerge, ReadStatus
from tests.integration.git.conftest import ALL, Project, refusal, result

MEMBER = Merge(branch="member", message=None)


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


def test_a_merge_over_changes_is_refused_and_keeps_them(project: Project) -> None:
    project.commit("README.md", "member\n", at=project.tree)
    (project.repository / "README.md").write_text("mine\n")

    assert "README.md" in refusal(project.write(Merge(branch="member", message=None)))
    assert (project.repository / "README.md").read_text() == "mine\n"
    assert "no branch 'nowhere'" in refusal(project.write(Merge(branch="nowhere", message=None)))


def begin_merge(project: Project) -> None:
    """An agent is half-way through resolving the conflict in ``f``."""
    project.git("branch", "theirs")
    project.commit("f", "ours\n")
    project.git("checkout", "-q", "theirs")
    project.commit("f", "theirs\n")
    project.git("checkout", "-q", "main")
    with pytest.raises(Exception, match="merge"):
        project.git("merge", "-q", "theirs")
    (project.repository / "f").write_text("resolved by hand\n")


def diverge(project: Project) -> None:
    project.commit("b")
    project.commit("a", at=project.tree)


def test_a_merge_leaves_alone_one_that_somebody_is_resolving(project: Project) -> None:
    project.commit("a", at=project.tree)
    begin_merge(project)
    before = project.photograph()

    assert "merge is under way" in refusal(project.write(MEMBER))
    assert project.photograph() == before
    assert (project.repository / "f").read_text() == "resolved by hand\n"


def test_a_merge_that_meets_one_begun_at_the_same_moment_leaves_it_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit("a", at=project.tree)
    begin_merge(project)
    monkeypatch.setattr("actors.git.merge.under_way", lambda place: None)

    assert "unresolved conflict" in refusal(project.write(MEMBER))
    project.git("add", "f")
    assert "MERGE_HEAD exists" in refusal(project.write(MEMBER))
    assert (project.repository / "f").read_text() == "resolved by hand\n"
    assert project.git("rev-parse", "MERGE_HEAD") == project.git("rev-parse", "theirs")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("secret", "secret"),
        ("secret/key", "secret"),
        ("secret", "secret/key"),
        ("deep/down/secret", "deep/down/secret"),
    ],
)
def test_a_merge_overwrites_no_file_that_git_ignores(project: Project, ours: str, theirs: str) -> None:
    project.commit(".gitignore", "secret\n")
    project.commit(theirs, "theirs\n", at=project.tree)
    path = project.repository / ours
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine\n")
    before = project.git("rev-parse", "HEAD")

    assert ours in refusal(project.write(MEMBER))
    assert path.read_text() == "mine\n"
    assert project.git("rev-parse", "HEAD") == before


def test_a_merge_may_turn_a_directory_into_a_file_and_back(project: Project) -> None:
    project.commit("here/below")
    project.commit("there")
    project.git("merge", "-q", "main", at=project.tree)
    project.git("rm", "-q", "-r", "here", "there", at=project.tree)
    project.commit("here", "a file\n", at=project.tree)
    project.commit("there/below", at=project.tree)
    project.commit("b")

    result(project.write(MEMBER))

    assert (project.repository / "here").read_text() == "a file\n"
    assert (project.repository / "there/below").is_file()
    assert project.git("status", "--porcelain") == ""


OF_NEW = Commit(message="m", files=("new",), everything=False)


@pytest.mark.parametrize(
    ("hook", "script", "operation", "told"),
    [
        ("pre-merge-commit", "exit 1", MEMBER, "git refused"),
        ("pre-merge-commit", "sleep 60", MEMBER, "was not done"),
        *(("pre-commit", "echo no tests >&2; exit 1", operation, "no tests") for operation in (ALL, OF_NEW)),
        *(("pre-commit", "sleep 60", operation, "git commit in") for operation in (ALL, OF_NEW)),
    ],
)
def test_what_a_hook_refuses_or_hangs_in_is_taken_back(
    project: Project, monkeypatch: pytest.MonkeyPatch, hook: str, script: str, operation: Operation, told: str
) -> None:
    diverge(project)
    (project.repository / "README.md").write_text("uncommitted\n")
    (project.repository / "new").write_text("x")
    project.hook(hook, script)
    before = project.git("status", "--porcelain=v2", "--branch")
    monkeypatch.setattr(repository, "HEAVY_S", 1.0)

    assert told in refusal(project.write(operation))

    assert project.git("status", "--porcelain=v2", "--branch") == before
    assert (project.repository / "README.md").read_text() == "uncommitted\n"
    assert not (project.repository / "a").exists()
    assert result(project.read(ReadStatus()))["underWay"] is None


@pytest.mark.parametrize(
    ("hook", "script", "operation", "told", "subject"),
    [
        ("post-merge", "sleep 60", MEMBER, "HEAD is at", "Merge branch 'member' into main"),
        ("post-commit", "sleep 60", OF_NEW, "HEAD is at", "m"),
        ("post-checkout", "exit 1", Checkout(branch="other", create=False, start=None), "is checked out now", "Add b"),
    ],
)
def test_what_is_done_before_a_hook_hangs_or_fails_is_told_to_be_looked_for(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    script: str,
    operation: Operation,
    told: str,
    subject: str,
) -> None:
    diverge(project)
    project.git("branch", "other")
    (project.repository / "new").write_text("x")
    project.hook(hook, script)
    monkeypatch.setattr(repository, "HEAVY_S", 1.0)

    assert told in refusal(project.write(operation))
    assert project.git("log", "-1", "--format=%s") == subject
    assert (project.git("branch", "--show-current") == "other") == (hook == "post-checkout")
    assert project.git("status", "--porcelain") in ("", "?? new")


def test_a_merge_whose_hook_hangs_leaves_what_was_staged_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverge(project)
    project.hook("pre-merge-commit", "echo mine > mine; git add mine; sleep 60")
    monkeypatch.setattr(repository, "HEAVY_S", 1.0)

    refusal(project.write(MEMBER))

    assert (project.repository / "mine").read_text() == "mine\n"


def test_the_lock_of_another_git_is_left_after_the_index_was_put_back(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.hook("pre-commit", "exit 1")
    (project.repository / "new").write_text("x")
    replace, lock = Path.replace, project.repository / ".git/index.lock"

    def replaced(path: Path, target: Path) -> Path:
        done = replace(path, target)
        lock.write_text("another's")
        return done

    monkeypatch.setattr(Path, "replace", replaced)

    refusal(project.write(ALL))
    assert lock.read_text() == "another's"


def _rebase(project: Project) -> None:
    project.commit("f", "main\n")
    project.commit("f", "member\n", at=project.tree)
    with pytest.raises(Exception, match="rebase"):
        project.git("rebase", "-q", "main", at=project.tree)


def _bisect(project: Project) -> None:
    for name in "abcd":
        project.commit(name, at=project.tree)
    project.git("bisect", "start", "member", "member~4", at=project.tree)


@pytest.mark.parametrize("begin", [_rebase, _bisect])
def test_a_branch_that_is_being_rebased_or_bisected_is_not_deleted(
    project: Project, begin: Callable[[Project], None]
) -> None:
    begin(project)
    project.git("branch", "holder", "member")

    assert "rebased or bisected" in refusal(project.write(DeleteBranch(name="member")))
    assert project.git("branch", "--list", "member") != ""
