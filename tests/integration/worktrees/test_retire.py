"""Retiring a workspace: what goes and what stays; a plan of removals tells the same and changes nothing."""

from __future__ import annotations

import re
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


def test_retiring_twice_gives_the_same_answer(place: Place, workspace: Workspace) -> None:
    assert place.manager.retire(workspace) == GONE
    assert place.manager.retire(workspace) == GONE


@pytest.mark.parametrize(
    ("script", "is_saved", "branches", "reason"),
    [
        ('commit new.py; git -C "$REPO" merge -q --no-ff -m Merge phalanx/spec_1', False, "main", ""),
        ("commit new.py; git tag saved", False, "main phalanx/spec_1", "no other branch has"),
        (
            "commit new.py; git update-ref refs/phalanx/saved/spec_1 HEAD",
            True,
            "main phalanx/spec_1",
            "no other branch",
        ),
        ("git checkout -q -b feature; commit new.py", False, "feature main", ""),
        ("commit new.py; git checkout -q --detach main", False, "main phalanx/spec_1", "no other branch has"),
        (
            "commit new.py; git symbolic-ref refs/heads/alias refs/heads/phalanx/spec_1",
            *(True, "alias main phalanx/spec_1", "no other branch has"),
        ),
        (
            'git worktree add --quiet --force "$BASE/elsewhere" phalanx/spec_1',
            *(False, "main phalanx/spec_1", "checked out in .*/elsewhere"),
        ),
        ('mv "$PWD" "$BASE/moved away"', False, "main phalanx/spec_1", "checked out in"),
        (
            'git init -q --bare "$BASE/remote.git"; git remote add origin "$BASE/remote.git"; commit new.py;'
            "git push -q -u origin phalanx/spec_1; merge_into_main",
            *(False, "main", ""),
        ),
        (
            r"""printf 'node_modules/\n*.pyc\n' > "$REPO/.git/info/exclude"; mkdir node_modules src/__pycache__;
            touch node_modules/index.js src/__pycache__/code.cpython-311.pyc""",
            *(False, "main", ""),
        ),
    ],
    ids=[
        *("merged", "tagged", "saved before", "on another branch", "branch left", "alias", "checked out elsewhere"),
        *("moved by hand", "pushed", "made anew by programs"),
    ],
)
def test_the_worktree_goes_and_the_branch_unless_it_alone_has_commits(
    place: Place, workspace: Workspace, script: str, is_saved: bool, branches: str, reason: str
) -> None:
    place.leave(workspace.directory, script)
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.saved_ref) == (True, "refs/phalanx/saved/spec_1" if is_saved else None)
    assert re.search(reason, removal.kept_reason or "")
    assert place.branches() == set(branches.split())
    assert removal.branch_deleted == ("phalanx/spec_1" not in branches)
    assert removal == GONE or reason
    assert removal.kept_reason or "phalanx" not in (place.repository / ".git/config").read_text()
    assert not workspace.directory.exists()


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
    assert re.search(reason, removal.kept_reason or "")
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
