"""Each operation of git against a real repository: what it tells, what it makes, what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actors.git.layout import find_place
from actors.git.model import (
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    GitRequest,
    ListRefs,
    ListWorktrees,
    Merge,
    Operation,
    Read,
    ReadDiff,
    ReadLog,
    ReadStatus,
)
from actors.git.reads import MOST_PATCH_CHARACTERS
from tests.integration.git.conftest import ALL, Project, branch, refusal, result
from tests.projects import make_repository

BRANCHES = ListRefs(kind="branch")


def test_a_status_tells_every_kind_of_change(project: Project) -> None:
    project.commit("moved", "a text that is long enough to be found again\n")
    (project.repository / "README.md").write_text("changed\n")
    (project.repository / "new file").write_text("x")
    project.git("mv", "moved", "elsewhere")

    status = result(project.read(ReadStatus()))

    assert status["staged"] == ["elsewhere"]
    assert status["unstaged"] == ["README.md"]
    assert status["untracked"] == ["new file"]
    assert (status["branch"], status["clean"]) == ("main", False)


def test_branches_start_where_they_are_told_to_and_at_the_trees_own_head_otherwise(project: Project) -> None:
    first = project.git("rev-parse", "HEAD")
    second = project.commit("a")
    third = project.commit("b", at=project.tree)

    made = project.create(branch("one"), branch("two", "main~1"), CreateRef(kind="tag", name="v1", start="member"))
    of_tree = project.create(branch("three"), at=project.tree)

    assert [result(each)["commit"] for each in (*made, *of_tree)] == [second, first, third, third]
    assert project.git("rev-parse", "one", "two", "v1", "three").split() == [second, first, third, third]


def test_of_many_new_branches_the_impossible_fail_alone(project: Project) -> None:
    names = ["a", "main", "a/b", "d", "c/d", "e"]
    project.git("branch", "c")

    made = project.create(*(branch(name, "nowhere" if name == "d" else None) for name in names))

    assert [each.error is None for each in made] == [True, False, False, False, False, True]
    assert "exists already" in refusal(made[1])
    assert "cannot create" in refusal(made[2])
    assert "There is no commit 'nowhere'" in refusal(made[3])
    assert set(project.git("branch", "--format=%(refname:short)").split()) == {"a", "c", "e", "main", "member"}


def test_a_list_of_branches_tells_where_each_is_checked_out(project: Project) -> None:
    listed = result(project.read(BRANCHES, at=project.tree))

    assert listed["current"] == "member"
    assert isinstance(listed["branches"], list)
    assert [(each["name"], each["worktree"]) for each in listed["branches"]] == [
        ("main", str(project.repository)),
        ("member", str(project.tree)),
    ]
    trees = result(project.read(ListWorktrees()))["worktrees"]
    assert isinstance(trees, list)
    assert [(each["path"], each["branch"]) for each in trees] == [
        (str(project.repository), "main"),
        (str(project.tree), "member"),
    ]


def test_a_branch_is_deleted_only_when_another_holds_its_commits(project: Project) -> None:
    project.create(branch("merged"))
    project.commit("a", at=project.tree)
    project.git("branch", "work", "member")
    project.git("checkout", "-q", "--detach", at=project.tree)
    project.git("branch", "-q", "-D", "member")

    assert result(project.write(DeleteBranch(name="merged")))["deleted"]
    assert "no other branch has" in refusal(project.write(DeleteBranch(name="work")))
    assert "no branch 'nothing'" in refusal(project.write(DeleteBranch(name="nothing")))
    assert "checked out" in refusal(project.write(DeleteBranch(name="main")))
    assert project.git("branch", "--list", "work", "main") != ""


def test_a_checkout_loses_neither_changes_nor_ignored_files(project: Project) -> None:
    project.commit("kept", "main\n")
    project.commit(".gitignore", "secret\n")
    project.git("checkout", "-q", "-b", "other")
    project.commit("kept", "other\n")
    project.git("add", "--force", str(_written(project.repository / "secret", "theirs")))
    project.git("commit", "-q", "-m", "secret")
    project.git("checkout", "-q", "main")
    other = Checkout(branch="other", create=False, start=None)

    _written(project.repository / "kept", "mine\n")
    assert "would be overwritten" in refusal(project.write(other)) or "kept" in refusal(project.write(other))
    project.git("checkout", "-q", "kept")
    _written(project.repository / "secret", "mine")
    assert "secret" in refusal(project.write(other))

    assert (project.repository / "secret").read_text() == "mine"
    assert project.git("branch", "--show-current") == "main"


def test_a_checkout_makes_a_branch_and_refuses_one_that_is_checked_out_elsewhere(project: Project) -> None:
    made = result(project.write(Checkout(branch="new", create=True, start="member")))

    assert (made["branch"], made["created"]) == ("new", True)
    assert project.git("branch", "--show-current") == "new"
    assert "already" in refusal(project.write(Checkout(branch="member", create=False, start=None)))
    assert "invalid reference" in refusal(project.write(Checkout(branch="v0", create=False, start=None)))


def test_a_commit_of_files_takes_those_and_leaves_what_else_is_staged(project: Project) -> None:
    for name in ("a", "b", "-rf", "*"):
        _written(project.repository / name, name)
    project.git("add", "b")

    done = result(project.write(Commit(message="# not a comment\n\nbody", files=("a", "-rf", "*"), everything=False)))

    assert done["commit"] == project.git("rev-parse", "HEAD")
    assert project.git("show", "--format=%B", "--name-only", "HEAD").split("\n") == [
        *("# not a comment", "", "body", "", "", "*", "-rf", "a")
    ]
    assert project.git("diff", "--cached", "--name-only") == "b"


def test_a_commit_of_everything_takes_new_and_deleted_files_of_the_whole_tree(project: Project) -> None:
    project.commit("below/a")
    (project.repository / "README.md").unlink()
    _written(project.repository / "new", "x")

    result(project.write(ALL, at=project.repository / "below"))

    assert project.git("status", "--porcelain") == ""
    assert project.git("ls-files").split() == ["below/a", "new"]


def test_with_nothing_to_commit_a_commit_says_so(project: Project) -> None:
    for operation in (ALL, Commit(message="m", files=(), everything=False)):
        assert "nothing to commit" in refusal(project.write(operation))
    assert "pathspec" in refusal(project.write(Commit(message="m", files=("nowhere",), everything=False)))


def test_a_diff_gives_numbers_and_a_patch_that_is_cut_where_it_is_too_long(project: Project) -> None:
    project.commit("a", "1\n2\n")
    _written(project.repository / "a", "1\n3\n")
    (project.repository / "b").write_bytes(b"\0binary")
    project.git("add", "b")

    unstaged = result(project.read(ReadDiff(base=None, head=None, staged=False)))
    staged = result(project.read(ReadDiff(base=None, head=None, staged=True)))
    between = result(project.read(ReadDiff(base="main~1", head="main", staged=False)))
    _written(project.repository / "a", "x" * 2 * MOST_PATCH_CHARACTERS)
    long = result(project.read(ReadDiff(base="HEAD", head=None, staged=False, files=("a",))))

    assert unstaged["files"] == [{"path": "a", "added": 1, "deleted": 1}]
    assert "-2\n+3" in str(unstaged["patch"])
    assert staged["files"] == [{"path": "b", "binary": True}]
    assert between["files"] == [{"path": "a", "added": 2, "deleted": 0}]
    assert long["truncated"]
    assert len(str(long["patch"])) == MOST_PATCH_CHARACTERS


def test_a_log_tells_the_latest_commits_of_a_revision_or_a_file(project: Project) -> None:
    project.commit("a")
    latest = project.commit("b")

    log = result(project.read(ReadLog(revision=None, limit=2)))["commits"]
    of_file = result(project.read(ReadLog(revision="main", limit=5, files=("a",))))["commits"]

    assert isinstance(log, list)
    assert isinstance(of_file, list)
    assert [each["subject"] for each in log] == ["Add b", "Add a"]
    assert log[0]["commit"] == latest
    assert log[0]["parents"] == [log[1]["commit"]]
    assert [each["subject"] for each in of_file] == ["Add a"]
    assert "git refused" in refusal(project.read(ReadLog(revision="nowhere", limit=1)))


def test_a_repository_without_commit_can_be_looked_at_and_gets_its_first(project: Project, short_tmp: Path) -> None:
    empty = short_tmp / "empty"
    project.git("init", "-q", str(empty))
    for key, value in (("user.name", "A"), ("user.email", "a@example.invalid")):
        project.git("config", key, value, at=empty)

    assert result(project.read(ReadStatus(), at=empty))["commit"] is None
    assert result(project.read(ReadLog(revision=None, limit=1), at=empty)) == {"commits": []}
    assert "make a first commit" in refusal(project.create(branch("a"), at=empty)[0])
    _written(empty / "a", "x")
    assert result(project.write(ALL, at=empty))["commit"]


def test_a_bare_repository_has_branches_but_no_files(project: Project, short_tmp: Path) -> None:
    bare = short_tmp / "bare.git"
    project.git("clone", "-q", "--bare", str(project.repository), str(bare))

    assert result(project.create(branch("new"), at=bare)[0])["created"]
    assert len(result(project.read(BRANCHES, at=bare))["branches"]) == 3  # type: ignore[arg-type]
    for operation in (ReadStatus(), ReadDiff(base=None, head=None, staged=False)):
        assert "bare repository" in refusal(project.read(operation, at=bare))
    assert "bare repository" in refusal(project.write(ALL, at=bare))


def test_outside_of_a_repository_everything_is_refused(project: Project, short_tmp: Path) -> None:
    outside = short_tmp / "outside"
    outside.mkdir()

    assert project.executor.places([outside]) == (None,)
    for outcome in (project.read(BRANCHES, at=outside), project.write(ALL, at=outside)):
        assert "in no git repository" in refusal(outcome)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


PLACED: list[Operation] = [
    ReadStatus(),
    ListRefs(kind="branch"),
    ALL,
    branch("new"),
    Merge(branch="main", message=None),
]


@pytest.mark.parametrize("operation", PLACED, ids=lambda operation: type(operation).__name__)
@pytest.mark.parametrize("by", ["link", "file of git", "repository of its own", "nothing"])
def test_an_operation_is_done_only_where_it_was_asked_for(project: Project, by: str, operation: Operation) -> None:
    place = find_place(project.tree)
    assert place is not None
    project.commit("more.txt")
    (project.tree / "new.txt").write_text("new\n")
    (project.repository / "of-the-user.txt").write_text("not finished\n")
    asked = GitRequest(directory=project.tree, operation=operation, place=place)
    before = project.git("for-each-ref")
    if by == "file of git":
        (project.tree / ".git").write_text(f"gitdir: {project.repository / '.git'}\n")
    else:
        project.tree.rename(project.tree.with_name("away"))
    if by == "link":
        project.tree.symlink_to(project.repository)
    elif by == "repository of its own":
        make_repository(project.tree)

    (refused,) = project.executor.read([asked]) if isinstance(operation, Read) else project.executor.write([asked])

    assert refused is not None
    assert refused.error is not None
    assert "not any more what the team made there" in refused.error["message"]
    assert project.git("for-each-ref") == before
    if by in {"link", "repository of its own"}:
        project.tree.unlink() if by == "link" else shutil.rmtree(project.tree)
        project.tree.with_name("away").rename(project.tree)
        (done,) = project.executor.read([asked]) if isinstance(operation, Read) else project.executor.write([asked])
        assert done is not None
        assert done.error is None


def test_a_link_that_comes_between_the_steps_of_an_operation_is_seen_too(project: Project) -> None:
    """A filter runs while git stages, and the commit is another git."""
    place = find_place(project.tree)
    assert place is not None
    away = project.tree.with_name("away")
    swap = f"mv {project.tree} {away} && ln -s {project.repository} {project.tree}; cat"
    project.git("config", "filter.swap.clean", swap)
    (project.tree / ".gitattributes").write_text("*.swap filter=swap\n")
    (project.tree / "a.swap").write_text("a\n")
    (project.repository / "of-the-user.txt").write_text("not finished\n")
    project.git("add", "of-the-user.txt")
    before = project.git("for-each-ref")

    (refused,) = project.executor.write([GitRequest(directory=project.tree, operation=ALL, place=place)])

    assert refused is not None
    assert refused.error is not None
    assert "not any more what the team made there" in refused.error["message"]
    assert project.git("for-each-ref") == before
