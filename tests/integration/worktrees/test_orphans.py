"""What is left on the disk when the team no longer knows of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, UnavailableError
from actors.worktrees import create
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import OrphanWorktree, Workspace
from tests.integration.worktrees.conftest import Place, photograph

REF = "refs/phalanx/saved/spec_1"


def _one(place: Place) -> OrphanWorktree:
    (orphan,) = place.manager.orphans(())
    return orphan


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_only_directories_that_nobody_knows_are_left_over(place: Place) -> None:
    names = ["spec_1", "spec_1", "spec_2"]
    made = [place.create(name) for name in names]
    (place.worktrees / "file").write_text("no directory")
    (place.worktrees / "link").symlink_to(place.repository)
    (place.worktrees / ".cache").mkdir()
    known = [one.worktree.name for one in made[:2] if one.worktree]
    assert [one.path for one in place.manager.orphans(known)] == [made[2].worktree]
    assert [one.path.name for one in place.manager.orphans(["spec_1"])] == ["spec_1-2", "spec_2"]


def test_a_leftover_is_described_without_changing_anything(place: Place, workspace: Workspace) -> None:
    assert _one(place).state == "It is clean and merged."
    commit = place.commit(workspace.directory, "new.py")
    (workspace.directory / "notes.txt").write_text("an idea")
    before = place.snapshot()
    orphan = _one(place)
    assert orphan.path == workspace.worktree
    assert orphan.git_directory == workspace.git_directory
    assert (orphan.branch, orphan.unfinished) == ("phalanx/spec_1", False)
    assert "1 uncommitted change is in it ('notes.txt')" in orphan.state
    assert f"{commit[:12]} is not merged" in orphan.state
    assert 0 <= orphan.age_s < 120
    assert place.snapshot() == before


def test_collecting_saves_first(place: Place, workspace: Workspace) -> None:
    (workspace.directory / "notes.txt").write_text("an idea")
    removal = place.manager.collect(_one(place))
    assert (removal.removed, removal.branch_deleted, removal.saved_ref) == (True, True, REF)
    assert place.git(place.repository, "show", f"{REF}:notes.txt") == "an idea"
    assert place.manager.orphans(()) == ()


def test_collecting_what_is_clean_leaves_no_trace(place: Place) -> None:
    before = place.snapshot()
    place.create("spec_1")
    assert place.manager.collect(_one(place)).kept_reason is None
    assert place.snapshot() == before


def test_what_cannot_be_saved_is_kept_and_told(place: Place, workspace: Workspace) -> None:
    place.git(workspace.directory, "init", "-q", "nested")
    orphan = _one(place)
    assert "cannot be saved: another repository" in orphan.state
    assert "another repository" in (place.manager.collect(orphan).kept_reason or "")
    assert (workspace.directory / "nested/.git").exists()


def test_a_creation_that_was_cut_off_is_taken_back(place: Place) -> None:
    before = place.snapshot()
    half_made = place.create("spec_1")
    place.git(place.repository, "worktree", "lock", "--reason", create._UNFINISHED, str(half_made.worktree))
    orphan = _one(place)
    assert orphan.unfinished
    assert place.manager.collect(orphan).removed
    assert place.snapshot() == before


@pytest.mark.parametrize("unregistered", [False, True])
def test_a_removal_that_was_cut_off_is_finished(place: Place, workspace: Workspace, unregistered: bool) -> None:
    aside = place.worktrees / ".removing-spec_1"
    workspace.directory.rename(aside)
    if unregistered:
        place.git(place.repository, "worktree", "remove", str(workspace.worktree))
    assert place.manager.orphans(["spec_1"]) == ()
    orphan = _one(place)
    assert (orphan.path, orphan.git_directory) == (aside, workspace.git_directory)
    assert place.manager.collect(orphan).removed
    assert not aside.exists()
    assert place.branches() == {"main"}


def test_a_cut_off_removal_does_not_touch_a_later_worktree_of_the_name(place: Place, workspace: Workspace) -> None:
    workspace.directory.rename(place.worktrees / ".removing-spec_1")
    place.git(place.repository, "worktree", "remove", str(workspace.worktree))
    place.git(place.repository, "branch", "-D", "phalanx/spec_1")
    again = place.create("spec_1")
    (again.directory / "notes.txt").write_text("an idea")
    photo = photograph(again.directory)
    (orphan,) = [one for one in place.manager.orphans(()) if one.path != again.worktree]
    assert place.manager.collect(orphan).removed
    assert photograph(again.directory) == photo
    assert place.git(again.directory, "branch", "--show-current") == "phalanx/spec_1"


def test_a_cut_off_removal_does_not_touch_the_worktree_that_another_home_has_made_of_the_name(
    place: Place, workspace: Workspace
) -> None:
    workspace.directory.rename(place.worktrees / ".removing-spec_1")
    place.git(place.repository, "worktree", "remove", str(workspace.worktree))
    place.git(place.repository, "branch", "-D", "phalanx/spec_1")
    other = WorktreeManager(place.base / "other", place.environment).create("spec_1", place.repository, "isolated")
    assert place.manager.collect(_one(place)).removed
    assert list(place.worktrees.iterdir()) == []
    assert place.git(other.directory, "branch", "--show-current") == "phalanx/spec_1"
    assert place.git(other.directory, "status", "--porcelain") == ""


def test_an_empty_directory_goes_and_a_strange_one_stays(place: Place) -> None:
    (place.worktrees / "empty").mkdir()
    (place.worktrees / "strange").mkdir()
    (place.worktrees / "strange/file").write_text("whose?")
    found = place.manager.orphans(())
    assert [one.state.split(",")[0] for one in found] == ["It is empty.", "It is not a worktree"]
    assert [place.manager.collect(one).removed for one in found] == [True, False]
    assert [path.name for path in place.worktrees.iterdir()] == ["strange"]


def test_a_leftover_of_a_vanished_repository_is_kept(place: Place, workspace: Workspace) -> None:
    place.repository.rename(place.base / "moved away")
    orphan = _one(place)
    assert "is gone" in orphan.state
    assert not place.manager.collect(orphan).removed
    assert workspace.directory.exists()


def test_what_another_call_holds_is_neither_listed_nor_collected(
    place: Place, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "PATIENCE_S", 0.2)
    orphan = _one(place)
    with _locked(workspace.directory):
        assert place.manager.orphans(()) == ()
        assert "another call" in (place.manager.collect(orphan).kept_reason or "")
    assert place.manager.collect(orphan).removed


def test_what_is_named_after_an_instance_goes_and_no_other_but_not_while_a_process_works_in_it(place: Place) -> None:
    place.git(place.repository, "branch", "phalanx/spec_1")
    half_made, other = place.create("spec_1"), place.create("spec_12")
    assert half_made.directory.name == "spec_1-2"
    place.git(place.repository, "worktree", "lock", "--reason", create._UNFINISHED, str(half_made.worktree))
    with _locked(half_made.directory), pytest.raises(UnavailableError, match="spec_1-2"):
        place.manager.discard_named("spec_1", ["spec_12"])
    assert half_made.directory.is_dir()

    place.manager.discard_named("spec_1", ["spec_12"])

    assert list(place.worktrees.iterdir()) == [other.worktree]
    assert place.branches() == {"main", "phalanx/spec_1", "phalanx/spec_12"}
    place.manager.discard_named("spec_12", ["spec_12"])
    assert other.directory.is_dir()


def test_a_directory_in_which_a_worktree_is_just_being_made_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "PATIENCE_S", 0.2)
    claimed = place.worktrees / "spec_1"
    claimed.mkdir()
    orphan = _one(place)
    with _locked(claimed):
        assert not place.manager.collect(orphan).removed
        assert claimed.exists()
    assert place.manager.collect(orphan).removed


def test_what_a_process_works_in_is_not_collected(place: Place, workspace: Workspace) -> None:
    orphan = _one(place)
    with subprocess.Popen(["cat"], cwd=workspace.directory / "src", stdin=subprocess.PIPE) as process:
        assert f"process {process.pid} is working in it" in (place.manager.collect(orphan).kept_reason or "")
        process.kill()
    lock = place.repository / ".git/worktrees/spec_1/index.lock"
    lock.touch()
    assert "a git process is working" in (place.manager.collect(orphan).kept_reason or "")
    lock.unlink()
    assert place.manager.collect(orphan).removed


def test_nothing_outside_of_the_root_is_collected(place: Place, workspace: Workspace) -> None:
    orphan = _one(place)
    assert not place.manager.collect(replace(orphan, path=place.worktrees / "..")).removed
    for elsewhere in (place.base / "elsewhere", place.worktrees, workspace.directory / "src"):
        with pytest.raises(InvalidRequestError, match="not below"):
            place.manager.collect(replace(orphan, path=elsewhere))
    (place.base / "elsewhere").mkdir()
    (place.worktrees / "link").symlink_to(place.base / "elsewhere")
    assert not place.manager.collect(replace(orphan, path=place.worktrees / "link")).removed
    assert (place.base / "elsewhere").exists()


def test_a_directory_that_is_gone_is_kept_in_words(place: Place, workspace: Workspace) -> None:
    orphan = _one(place)
    place.manager.retire(workspace)
    assert not place.manager.collect(orphan).removed
