"""Where no worktree can be made: refused in words, with nothing left, and what is only unusual is no obstacle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, WorkspaceError
from actors.worktrees.manager import WorktreeManager
from tests.integration.worktrees.conftest import Place


def test_git_missing_is_said_in_words(place: Place) -> None:
    with pytest.raises(WorkspaceError, match="Install git"):
        WorktreeManager(place.worktrees, {"PATH": "/nowhere"}).create("a", place.repository, "isolated")


def test_no_repository_and_no_commit_are_refused_with_the_remedy(workspaces: WorktreeManager, place: Place) -> None:
    directory = place.base / "plain"
    directory.mkdir()
    with pytest.raises(InvalidRequestError, match=r"`git init`.*shared"):
        workspaces.create("a", directory, "isolated")
    place.git(directory, "init", "-q")
    with pytest.raises(InvalidRequestError, match=r"first commit.*shared"):
        workspaces.create("a", directory, "isolated")
    assert workspaces.create("a", directory, "shared").branch == "main"
    assert list(place.worktrees.iterdir()) == []


def test_a_damaged_repository_is_not_taken_for_none(workspaces: WorktreeManager, place: Place) -> None:
    directory = place.base / "damaged"
    directory.mkdir()
    (directory / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(WorkspaceError, match=r"cannot read the repository of .*/damaged: fatal: not a git repository"):
        workspaces.create("a", directory, "isolated")


@pytest.mark.parametrize("work_dir", ["nowhere", "project/src/code.py", "project/.git", "a\0b", "line\nfeed"])
def test_a_directory_that_cannot_be_worked_in_is_refused(
    workspaces: WorktreeManager, place: Place, work_dir: str
) -> None:
    with pytest.raises(InvalidRequestError):
        workspaces.create("a", place.base / work_dir, "isolated")


def test_a_relative_directory_is_refused(workspaces: WorktreeManager) -> None:
    with pytest.raises(InvalidRequestError, match="absolute"):
        workspaces.create("a", Path(), "shared")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_an_unreadable_directory_is_refused(workspaces: WorktreeManager, place: Place) -> None:
    (place.repository / "src").chmod(0)
    with pytest.raises(InvalidRequestError, match="permissions"):
        workspaces.create("a", place.repository / "src", "shared")
    (place.repository / "src").chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_repository_of_another_user_is_refused_with_the_remedy(workspaces: WorktreeManager, place: Place) -> None:
    os.chown(place.repository, 12345, 12345)
    os.chown(place.repository / ".git", 12345, 12345)
    with pytest.raises(WorkspaceError, match=r"safe\.directory"):
        workspaces.create("a", place.repository, "isolated")


@pytest.mark.parametrize("instance_id", ["", "-x", "../x", "a/b", "a b", "a\n", "a.lock", "ä", "@{-1}"])
def test_an_id_that_is_no_plain_name_is_refused(workspaces: WorktreeManager, place: Place, instance_id: str) -> None:
    before = place.snapshot()
    with pytest.raises(InvalidRequestError):
        workspaces.create(instance_id, place.repository, "isolated")
    assert place.snapshot() == before


@pytest.mark.parametrize("name", ["with space", "$HOME", "~", "-rf", "--help", "naïve", "new\nline", "a;b", "*"])
def test_any_directory_name_is_taken_as_it_is(workspaces: WorktreeManager, place: Place, name: str) -> None:
    repository = place.base / "odd" / name
    repository.mkdir(parents=True)
    place.git(repository, "init", "-q")
    commit = place.commit(repository, "file")
    workspace = workspaces.create("a", repository, "isolated")
    assert (workspace.base_commit, workspace.repository) == (commit, repository)
    assert workspaces.retire(workspace).removed


def test_worktrees_inside_the_repository_are_refused(place: Place) -> None:
    inside = WorktreeManager(place.repository / ".phalanx/worktrees", place.environment)
    with pytest.raises(InvalidRequestError, match="PHALANX_HOME"):
        inside.create("a", place.repository, "isolated")


def test_a_home_below_another_repository_is_fine(place: Place) -> None:
    place.git(place.base, "init", "-q")
    workspaces = WorktreeManager(place.worktrees, place.environment)
    assert workspaces.create("a", place.repository, "isolated").repository == place.repository
