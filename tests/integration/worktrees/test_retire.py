"""Retiring a workspace: what goes and what stays; a plan of removals tells the same and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from actors.errors import InvalidRequestError
from actors.worktrees import snapshot
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import OrphanWorktree, RemovalResult, Workspace
from tests.integration.worktrees.conftest import Place, photograph
from tests.integration.worktrees.states import STATES, UNSAVABLE

GONE = RemovalResult(removed=True, kept_reason=None, branch_deleted=True)


@pytest.mark.parametrize("end", [WorktreeManager.retire, WorktreeManager.undo])
def test_an_untouched_workspace_leaves_no_trace(
    place: Place, end: Callable[[WorktreeManager, Workspace], RemovalResult]
) -> None:
    before = place.snapshot()
    workspace = place.create("a")
    assert end(place.manager, workspace) == GONE
    assert place.snapshot() == before


def test_merged_work_may_go(place: Place, workspace: Workspace) -> None:
    commit = place.commit(workspace.directory, "new.py")
    place.git(place.repository, "merge", "-q", "--no-ff", "-m", "Merge", "phalanx/spec_1")
    assert place.manager.retire(workspace) == GONE
    assert not workspace.directory.exists()
    assert place.git(place.repository, "cat-file", "-t", commit) == "commit"
    assert place.branches() == {"main"}


def test_retiring_twice_gives_the_same_answer(place: Place, workspace: Workspace) -> None:
    assert place.manager.retire(workspace) == GONE
    assert place.manager.retire(workspace) == GONE


def test_a_tag_saves_the_worktrees_commit_but_the_branch_stays(place: Place, workspace: Workspace) -> None:
    place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "tag", "saved")
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, False)
    assert "no other branch has" in (removal.kept_reason or "")
    assert place.branches() == {"main", "phalanx/spec_1"}


def test_a_commit_saved_under_our_own_refs_lets_the_worktree_go(place: Place, workspace: Workspace) -> None:
    place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "update-ref", "refs/phalanx/saved/spec_1", "HEAD")
    assert place.manager.retire(workspace).removed


def test_work_on_another_branch_stays_on_that_branch(place: Place, workspace: Workspace) -> None:
    place.git(workspace.directory, "checkout", "-q", "-b", "feature")
    commit = place.commit(workspace.directory, "new.py")
    assert place.manager.retire(workspace) == GONE
    assert place.git(place.repository, "rev-parse", "feature") == commit


def test_a_branch_with_commits_stays_when_the_worktree_has_left_it(place: Place, workspace: Workspace) -> None:
    commit = place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "checkout", "-q", "--detach", "main")
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, False)
    assert place.git(place.repository, "rev-parse", "phalanx/spec_1") == commit


def test_an_alias_of_the_branch_does_not_count_as_another(place: Place, workspace: Workspace) -> None:
    place.commit(workspace.directory, "new.py")
    place.git(place.repository, "symbolic-ref", "refs/heads/alias", "refs/heads/phalanx/spec_1")
    removal = place.manager.retire(workspace)
    assert (removal.saved_ref, removal.branch_deleted) == ("refs/phalanx/saved/spec_1", False)


def test_a_branch_that_is_checked_out_elsewhere_stays(place: Place, workspace: Workspace) -> None:
    elsewhere = place.base / "elsewhere"
    place.git(place.repository, "worktree", "add", "--quiet", "--force", str(elsewhere), "phalanx/spec_1")
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, False)
    assert str(elsewhere) in (removal.kept_reason or "")


def test_what_a_push_noted_about_the_branch_goes_with_it(place: Place, workspace: Workspace) -> None:
    place.git(place.base, "init", "-q", "--bare", "remote.git")
    place.git(place.repository, "remote", "add", "origin", str(place.base / "remote.git"))
    place.commit(workspace.directory, "new.py")
    place.git(workspace.directory, "push", "-q", "-u", "origin", "phalanx/spec_1")
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")
    assert "phalanx" in (place.repository / ".git/config").read_text()
    assert place.manager.retire(workspace) == GONE
    assert "phalanx" not in (place.repository / ".git/config").read_text()


def test_files_that_programs_make_anew_do_not_keep_a_worktree(place: Place, workspace: Workspace) -> None:
    (place.repository / ".git/info/exclude").write_text("node_modules/\n*.pyc\n")
    for name in ("node_modules/left-pad/index.js", "src/__pycache__/code.cpython-311.pyc"):
        (workspace.directory / name).parent.mkdir(parents=True)
        (workspace.directory / name).write_text("made")
    assert place.manager.retire(workspace) == GONE


def test_undo_takes_a_branch_at_a_commit_that_no_other_branch_has(place: Place) -> None:
    place.git(place.repository, "checkout", "-q", "--detach")
    place.commit(place.repository, "on no branch")
    undone = place.create("b")
    assert place.manager.undo(undone) == GONE
    retired = place.create("a")
    assert place.manager.retire(retired).branch_deleted is False
    assert place.branches() == {"main", "phalanx/a"}


def test_two_branches_that_hold_each_others_commit_never_go_together(place: Place) -> None:
    place.git(place.repository, "checkout", "-q", "--detach")
    for round_number in range(10):
        commit = place.commit(place.repository, f"on no branch {round_number}")
        pair = [place.create(f"r{round_number}_{side}") for side in "ab"]
        with ThreadPoolExecutor(2) as pool:
            retirements = list(pool.map(place.manager.retire, pair))
        assert all(removal.removed for removal in retirements)
        assert place.git(place.repository, "for-each-ref", "--contains", commit, "refs/heads") != ""


def test_a_worktree_can_be_retired_after_the_worktree_it_came_from(place: Place, workspace: Workspace) -> None:
    child = place.create("child", workspace.directory)
    assert place.manager.retire(workspace) == GONE
    assert place.manager.retire(child) == GONE


def test_a_directory_deleted_by_hand_leaves_the_branch(place: Place, workspace: Workspace) -> None:
    workspace.directory.rename(place.base / "moved away")
    removal = place.manager.retire(workspace)
    assert removal.branch_deleted is False
    assert place.branches() == {"main", "phalanx/spec_1"}


def test_what_is_left_of_a_vanished_repository_is_kept(place: Place, workspace: Workspace) -> None:
    place.repository.rename(place.base / "moved away")
    removal = place.manager.retire(workspace)
    assert not removal.removed
    assert "gone" in (removal.kept_reason or "")
    assert workspace.directory.exists()


def test_a_worktree_that_is_not_below_our_directory_is_refused(place: Place, workspace: Workspace) -> None:
    elsewhere = place.base / "elsewhere"
    place.git(place.repository, "worktree", "add", "--quiet", str(elsewhere))
    with pytest.raises(InvalidRequestError, match="not ours"):
        place.manager.retire(replace(workspace, worktree=elsewhere))
    assert elsewhere.exists()


@pytest.mark.parametrize(("reason", "script"), UNSAVABLE)
@pytest.mark.parametrize("end", [WorktreeManager.retire, WorktreeManager.undo])
def test_work_is_kept_and_the_reason_told(
    place: Place,
    workspace: Workspace,
    reason: str,
    script: str,
    end: Callable[[WorktreeManager, Workspace], RemovalResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "MOST_FILES", 500)  # in place of twenty thousand, which take their time to write
    place.leave(workspace.directory, script)
    before, index = photograph(place.base), (place.repository / ".git/worktrees/spec_1/index").read_bytes()
    removal = end(place.manager, workspace)
    assert not removal.removed
    assert not removal.branch_deleted
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(removal.kept_reason)
    assert str(workspace.worktree) in (removal.kept_reason or "")
    assert (place.repository / ".git/worktrees/spec_1/index").read_bytes() == index
    assert {path for path in photograph(place.base) if b"/objects/" not in path} == {
        path for path in before if b"/objects/" not in path
    }
    assert place.saved() == set()


COMMIT = 'commit "work of $(basename "$PWD")"; '
MODIFY = "echo 'x = 2' > src/code.py"
PREPARATIONS = [
    "",
    COMMIT,
    COMMIT + MODIFY,
    COMMIT + "merge_into_main",
    MODIFY + '; git worktree lock "$PWD"',
    'git clone -q "$REPO" clone',
    MODIFY + "; git update-ref refs/phalanx/saved/spec_1 HEAD",
    COMMIT + "git checkout -q --detach HEAD",
    *(STATES[name] for name in ("modified", "staged, then modified again", "untracked", "ignored")),
]


def check(place: Place, *what: Workspace | OrphanWorktree) -> None:
    before = place.snapshot()
    planned = place.manager.plan_removals(what)
    assert place.snapshot() == before
    assert planned == tuple(
        place.manager.retire(each) if isinstance(each, Workspace) else place.manager.collect(each) for each in what
    )


@pytest.mark.parametrize("prepare", PREPARATIONS)
@pytest.mark.parametrize("as_leftover", [False, True])
def test_every_state_is_foreseen(place: Place, workspace: Workspace, prepare: str, as_leftover: bool) -> None:
    place.leave(workspace.directory, prepare)
    if as_leftover:
        (orphan,) = place.manager.orphans([])
        check(place, orphan)
    else:
        check(place, workspace)


@pytest.mark.parametrize("more", ["", MODIFY, COMMIT])
def test_what_an_earlier_removal_of_the_run_changes_for_a_later_one_is_foreseen(
    place: Place, workspace: Workspace, more: str
) -> None:
    """The second one stands on the first one's work: either holds it for the other while both are there."""
    place.leave(workspace.directory, COMMIT)
    second = place.create("spec_2", workspace.directory)
    place.leave(second.directory, more)
    check(place, workspace, second)


def test_empty_strange_and_unfinished_directories_are_foreseen(place: Place) -> None:
    (place.worktrees / "spec_5").mkdir()
    (place.worktrees / "spec_6").mkdir()
    (place.worktrees / "spec_6" / "file").touch()
    found = place.manager.orphans([])
    check(place, *found)
