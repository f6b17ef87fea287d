"""Retiring a workspace: what goes, and which branches stay."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from actors.errors import InvalidRequestError
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import RemovalResult, Workspace
from tests.integration.worktrees.conftest import Place

GONE = RemovalResult(removed=True, kept_reason=None, branch_deleted=True)


@pytest.mark.parametrize("end", [WorktreeManager.retire, WorktreeManager.undo])
def test_an_untouched_workspace_leaves_no_trace(
    workspaces: WorktreeManager, place: Place, end: Callable[[WorktreeManager, Workspace], RemovalResult]
) -> None:
    before = place.snapshot()
    workspace = workspaces.create("a", place.repository, "isolated")
    assert end(workspaces, workspace) == GONE
    assert place.snapshot() == before


def test_merged_work_may_go(workspaces: WorktreeManager, workspace: Workspace, place: Place) -> None:
    commit = place.commit(workspace.directory, "new.py")
    place.git(place.repository, "merge", "-q", "--no-ff", "-m", "Merge", "phalanx/spec_1")
    assert workspaces.retire(workspace) == GONE
    assert not workspace.directory.exists()
    assert place.git(place.repository, "cat-file", "-t", commit) == "commit"
    assert place.branches() == {"main"}


def test_retiring_twice_gives_the_same_answer(workspaces: WorktreeManager, workspace: Workspace) -> None:
    assert workspaces.retire(workspace) == GONE
    assert workspaces.retire(workspace) == GONE


def test_a_tag_saves_the_worktrees_commit_but_the_branch_stays(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "tag", "saved")
    removal = workspaces.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, False)
    assert "no other branch has" in (removal.kept_reason or "")
    assert place.branches() == {"main", "phalanx/spec_1"}


def test_a_commit_saved_under_our_own_refs_lets_the_worktree_go(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "update-ref", "refs/phalanx/saved/spec_1", "HEAD")
    assert workspaces.retire(workspace).removed


def test_work_on_another_branch_stays_on_that_branch(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    place.git(workspace.directory, "checkout", "-q", "-b", "feature")
    commit = place.commit(workspace.directory, "new.py")
    assert workspaces.retire(workspace) == GONE
    assert place.git(place.repository, "rev-parse", "feature") == commit


def test_a_branch_with_commits_stays_when_the_worktree_has_left_it(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    commit = place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "checkout", "-q", "--detach", "main")
    removal = workspaces.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, False)
    assert place.git(place.repository, "rev-parse", "phalanx/spec_1") == commit


def test_an_alias_of_the_branch_does_not_count_as_another(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    place.commit(workspace.directory, "new.py")
    place.git(place.repository, "symbolic-ref", "refs/heads/alias", "refs/heads/phalanx/spec_1")
    removal = workspaces.retire(workspace)
    assert (removal.saved_ref, removal.branch_deleted) == ("refs/phalanx/saved/spec_1", False)


def test_a_branch_that_is_checked_out_elsewhere_stays(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    elsewhere = place.base / "elsewhere"
    place.git(place.repository, "worktree", "add", "--quiet", "--force", str(elsewhere), "phalanx/spec_1")
    removal = workspaces.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, False)
    assert str(elsewhere) in (removal.kept_reason or "")


def test_what_a_push_noted_about_the_branch_goes_with_it(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    place.git(place.base, "init", "-q", "--bare", "remote.git")
    place.git(place.repository, "remote", "add", "origin", str(place.base / "remote.git"))
    place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "push", "-q", "-u", "origin", "phalanx/spec_1")
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")
    assert "phalanx" in (place.repository / ".git/config").read_text()
    assert workspaces.retire(workspace) == GONE
    assert "phalanx" not in (place.repository / ".git/config").read_text()


def test_files_that_programs_make_anew_do_not_keep_a_worktree(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    (place.repository / ".git/info/exclude").write_text("node_modules/\n*.pyc\n")
    for name in ("node_modules/left-pad/index.js", "src/__pycache__/code.cpython-311.pyc"):
        (workspace.directory / name).parent.mkdir(parents=True)
        (workspace.directory / name).write_text("made")
    assert workspaces.retire(workspace) == GONE


def test_undo_takes_a_branch_at_a_commit_that_no_other_branch_has(workspaces: WorktreeManager, place: Place) -> None:
    place.git(place.repository, "checkout", "-q", "--detach")
    place.commit(place.repository, "on no branch")
    undone = workspaces.create("b", place.repository, "isolated")
    assert workspaces.undo(undone) == GONE
    retired = workspaces.create("a", place.repository, "isolated")
    assert workspaces.retire(retired).branch_deleted is False
    assert place.branches() == {"main", "phalanx/a"}


def test_two_branches_that_hold_each_others_commit_never_go_together(workspaces: WorktreeManager, place: Place) -> None:
    place.git(place.repository, "checkout", "-q", "--detach")
    for round_number in range(10):
        commit = place.commit(place.repository, f"on no branch {round_number}")
        pair = [workspaces.create(f"r{round_number}_{side}", place.repository, "isolated") for side in "ab"]
        with ThreadPoolExecutor(2) as pool:
            retirements = list(pool.map(workspaces.retire, pair))
        assert all(removal.removed for removal in retirements)
        assert place.git(place.repository, "for-each-ref", "--contains", commit, "refs/heads") != ""


def test_a_worktree_can_be_retired_after_the_worktree_it_came_from(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    child = workspaces.create("child", workspace.directory, "isolated")
    assert workspaces.retire(workspace) == GONE
    assert workspaces.retire(child) == GONE


def test_a_directory_deleted_by_hand_leaves_the_branch(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    workspace.directory.rename(place.base / "moved away")
    removal = workspaces.retire(workspace)
    assert removal.branch_deleted is False
    assert place.branches() == {"main", "phalanx/spec_1"}


def test_what_is_left_of_a_vanished_repository_is_kept(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    place.repository.rename(place.base / "moved away")
    removal = workspaces.retire(workspace)
    assert not removal.removed
    assert "gone" in (removal.kept_reason or "")
    assert workspace.directory.exists()


def test_a_worktree_that_is_not_below_our_directory_is_refused(
    workspaces: WorktreeManager, workspace: Workspace, place: Place
) -> None:
    elsewhere = place.base / "elsewhere"
    place.git(place.repository, "worktree", "add", "--quiet", str(elsewhere))
    with pytest.raises(InvalidRequestError, match="not ours"):
        workspaces.retire(replace(workspace, worktree=elsewhere))
    assert elsewhere.exists()
