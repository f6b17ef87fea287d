"""A workspace is made: a worktree on a branch of its own, or the directory itself. Else it is refused in words."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.layout import find_place
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import Workspace
from tests.integration.worktrees.conftest import Place


def test_an_isolated_workspace_is_a_worktree_on_a_branch_of_its_own(place: Place, workspace: Workspace) -> None:
    worktree = place.worktrees / "spec_1"
    assert workspace == Workspace(
        mode="isolated",
        directory=worktree,
        worktree=worktree,
        repository=place.repository,
        git_directory=place.repository / ".git",
        branch="phalanx/spec_1",
        base_commit=place.git(place.repository, "rev-parse", "HEAD"),
        notes=(),
    )
    assert (worktree / "src/code.py").read_text() == "x = 1\n"
    assert place.git(worktree, "symbolic-ref", "HEAD") == "refs/heads/phalanx/spec_1"
    assert place.git(worktree, "status", "--porcelain") == ""
    assert place.git(place.repository, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert "locked" not in place.git(place.repository, "worktree", "list", "--porcelain")


@pytest.mark.parametrize(
    ("script", "work_dir", "directory", "note"),
    [
        ("", "src", "a/src", ""),
        ("mkdir new", "new", "a", "new is not a directory in the last commit.*"),
        (
            'ln -s "$BASE" data; git add data; git commit -qm Link; rm data; mkdir data',
            *("data", "a", ".* data is not a directory in the last commit.*"),
        ),
        (
            "echo 'x = 2' > src/code.py; touch 'new file'",
            *("", "a", r"2 uncommitted change\(s\) in .*/project are not in the worktree.*"),
        ),
        ("printf broken > .git/index", "", "a", ".*if any, are not in the worktree.*"),
        ("touch .git/index.lock", "", "a", ""),
        ("commit second; git checkout -q --detach HEAD~1", "", "a", "HEAD of .* is detached.*"),
        ('mv .git "$BASE/real.git"; ln -s "$BASE/real.git" .git', "", "a", ""),
        (
            "git branch phalanx/a; git branch phalanx/a-2/deeper; commit later",
            *("", "a-3", "The name a was taken, so the branch is phalanx/a-3."),
        ),
        ("git tag phalanx/a; commit later", "", "a", ""),
        (
            'cd "$BASE/phalanx/worktrees"; mkdir a; touch a/precious a-2; ln -s "$BASE" a-3',
            *("", "a-4", "The name a was taken, so the branch is phalanx/a-4."),
        ),
        (
            """configure status.showUntrackedFiles no; configure branch.autoSetupMerge always
            configure checkout.defaultRemote origin; configure core.logAllRefUpdates always
            configure extensions.worktreeConfig true; configure safe.bareRepository explicit
            git config --global safe.bareRepository explicit""",
            *("", "a", ""),
        ),
    ],
    ids=[
        *("below", "below, not committed", "below, a link", "changes", "a broken index", "a locked index", "detached"),
        *("git's directory behind a link", "branches of the name", "a tag of the name", "directories of the name"),
        "settings",
    ],
)
def test_whatever_the_repository_is_like_a_worktree_of_the_last_commit_is_made_and_leaves_no_trace(
    place: Place, script: str, work_dir: str, directory: str, note: str
) -> None:
    place.leave(place.repository, script)
    head, before = place.git(place.repository, "rev-parse", "HEAD"), place.snapshot()
    workspace = place.create("a", place.repository / work_dir)
    assert workspace.directory == place.worktrees / directory
    assert workspace.base_commit == head == place.git(workspace.directory, "rev-parse", "HEAD")
    assert workspace.branch == f"phalanx/{directory.removesuffix('/src')}"
    assert place.git(workspace.directory, "symbolic-ref", "HEAD") == f"refs/heads/{workspace.branch}"
    assert place.git(workspace.directory, "status", "--porcelain") == ""
    assert re.fullmatch(note, " ".join(workspace.notes))
    assert place.manager.retire(workspace).kept_reason is None
    assert place.snapshot() == before


def test_worktrees_are_private_to_the_user(workspace: Workspace, place: Place) -> None:
    assert stat.S_IMODE(place.worktrees.stat().st_mode) == 0o700
    assert stat.S_IMODE(workspace.directory.stat().st_mode) == 0o700


def test_another_instances_worktree_can_be_branched_from(place: Place, workspace: Workspace) -> None:
    commit = place.commit(workspace.directory, "by the first")
    second = place.create("b", workspace.directory)
    assert (second.base_commit, second.repository) == (commit, workspace.worktree)
    assert second.git_directory == place.repository / ".git"
    assert second.worktree == place.worktrees / "b"


def test_a_bare_repository_has_worktrees(place: Place) -> None:
    bare = place.base / "bare.git"
    place.git(place.base, "clone", "-q", "--bare", str(place.repository), str(bare))
    workspace = place.create("a", bare)
    assert (workspace.directory / "src/code.py").exists()
    assert workspace.repository == workspace.git_directory == bare
    assert place.manager.retire(workspace).removed
    assert place.git(bare, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_submodules_are_left_to_be_fetched_by_hand(place: Place) -> None:
    other = place.base / "other"
    place.git(place.base, "clone", "-q", str(place.repository), str(other))
    place.git(place.repository, "submodule", "--quiet", "add", str(other), "lib")
    place.git(place.repository, "commit", "-q", "-m", "Add lib")
    place.git(place.base, "config", "--global", "submodule.recurse", "true")
    workspace = place.create("a")
    assert list((workspace.directory / "lib").iterdir()) == []
    assert any("git submodule update --init" in note for note in workspace.notes)
    inside = place.create("b", place.repository / "lib")
    assert (inside.directory / "src/code.py").exists()
    assert place.manager.retire(inside).kept_reason is None
    assert place.manager.retire(workspace).kept_reason is None


@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_named_phalanx_is_refused_in_words(place: Place, packed: bool) -> None:
    place.git(place.repository, "branch", "phalanx")
    if packed:
        place.git(place.repository, "pack-refs", "--all")
    before = place.snapshot()
    with pytest.raises(InvalidRequestError, match="git branch -m phalanx"):
        place.create("a")
    assert place.snapshot() == before


def test_a_worktree_that_was_deleted_by_hand_keeps_its_registration(place: Place, workspace: Workspace) -> None:
    place.git(workspace.directory, "checkout", "-q", "--detach")
    commit = place.commit(workspace.directory, "only here")
    workspace.directory.rename(place.base / "moved away")
    place.git(place.repository, "branch", "-D", "phalanx/spec_1")
    assert place.create("spec_1").branch == "phalanx/spec_1-2"
    assert commit in place.git(place.repository, "worktree", "list", "--porcelain")


def test_a_shared_workspace_is_the_directory_itself(place: Place) -> None:
    before = place.snapshot()
    workspace = place.manager.create("a", place.repository / "src", "shared")
    assert workspace.directory == place.repository / "src"
    assert (workspace.branch, workspace.repository) == ("main", place.repository)
    assert workspace.worktree is None
    assert place.manager.retire(workspace).removed is False
    assert place.manager.undo(workspace).kept_reason is None
    assert place.snapshot() == before


def test_a_shared_directory_is_known_by_its_real_path_and_where_it_lies(place: Place) -> None:
    below = place.repository / "src"
    link = place.repository.parent / "link"
    link.symlink_to(below)
    one = place.create("spec_1")

    by_link = place.manager.create("spec_2", link, "shared")
    in_worktree = place.manager.create("spec_3", one.directory, "shared")

    assert by_link.directory == below
    assert by_link.place == find_place(below)
    assert in_worktree.place == one.place == find_place(one.directory)


def test_a_shared_workspace_needs_no_git(place: Place) -> None:
    directory = place.base / "plain"
    directory.mkdir()
    expected = Workspace(mode="shared", directory=directory)
    assert WorktreeManager(place.worktrees, place.environment).create("a", directory, "shared") == expected
    without_git = WorktreeManager(place.worktrees, {"PATH": "/nowhere"}).create("a", directory, "shared")
    assert replace(without_git, notes=()) == expected


def test_git_missing_is_said_in_words(place: Place) -> None:
    with pytest.raises(WorkspaceError, match="Install git"):
        WorktreeManager(place.worktrees, {"PATH": "/nowhere"}).create("a", place.repository, "isolated")


def test_no_repository_and_no_commit_are_refused_with_the_remedy(place: Place) -> None:
    directory = place.base / "plain"
    directory.mkdir()
    with pytest.raises(InvalidRequestError, match=r"`git init`.*shared"):
        place.create("a", directory)
    place.git(directory, "init", "-q")
    with pytest.raises(InvalidRequestError, match=r"first commit.*shared"):
        place.create("a", directory)
    assert place.manager.create("a", directory, "shared").branch == "main"
    assert list(place.worktrees.iterdir()) == []


def test_a_damaged_repository_is_not_taken_for_none(place: Place) -> None:
    directory = place.base / "damaged"
    directory.mkdir()
    (directory / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(WorkspaceError, match=r"cannot read the repository of .*/damaged: fatal: not a git repository"):
        place.create("a", directory)


@pytest.mark.parametrize("work_dir", ["nowhere", "project/src/code.py", "project/.git", "a\0b", "line\nfeed"])
def test_a_directory_that_cannot_be_worked_in_is_refused(place: Place, work_dir: str) -> None:
    with pytest.raises(InvalidRequestError):
        place.manager.create("a", place.base / work_dir, "isolated")


def test_a_relative_directory_is_refused(place: Place) -> None:
    with pytest.raises(InvalidRequestError, match="absolute"):
        place.manager.create("a", Path(), "shared")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_an_unreadable_directory_is_refused(place: Place) -> None:
    (place.repository / "src").chmod(0)
    with pytest.raises(InvalidRequestError, match="permissions"):
        place.manager.create("a", place.repository / "src", "shared")
    (place.repository / "src").chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_repository_of_another_user_is_refused_with_the_remedy(place: Place) -> None:
    os.chown(place.repository, 12345, 12345)
    os.chown(place.repository / ".git", 12345, 12345)
    with pytest.raises(WorkspaceError, match=r"safe\.directory"):
        place.create("a")


@pytest.mark.parametrize("instance_id", ["", "-x", "../x", "a/b", "a b", "a\n", "a.lock", "ä", "@{-1}"])
def test_an_id_that_is_no_plain_name_is_refused(place: Place, instance_id: str) -> None:
    before = place.snapshot()
    with pytest.raises(InvalidRequestError):
        place.create(instance_id)
    assert place.snapshot() == before


@pytest.mark.parametrize("name", ["with space", "$HOME", "~", "-rf", "--help", "naïve", "new\nline", "a;b", "*"])
def test_any_directory_name_is_taken_as_it_is(place: Place, name: str) -> None:
    repository = place.base / "odd" / name
    repository.mkdir(parents=True)
    place.git(repository, "init", "-q")
    commit = place.commit(repository, "file")
    workspace = place.create("a", repository)
    assert (workspace.base_commit, workspace.repository) == (commit, repository)
    assert place.manager.retire(workspace).removed


def test_worktrees_inside_the_repository_are_refused(place: Place) -> None:
    inside = WorktreeManager(place.repository / ".phalanx/worktrees", place.environment)
    with pytest.raises(InvalidRequestError, match="PHALANX_HOME"):
        inside.create("a", place.repository, "isolated")


def test_a_home_below_another_repository_is_fine(place: Place) -> None:
    place.git(place.base, "init", "-q")
    workspaces = WorktreeManager(place.worktrees, place.environment)
    assert workspaces.create("a", place.repository, "isolated").repository == place.repository
