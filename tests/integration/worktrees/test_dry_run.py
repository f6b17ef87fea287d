"""A plan of removals tells what the removals answer then, and changes nothing at all."""

from __future__ import annotations

import pytest

from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import OrphanWorktree, Workspace
from tests.integration.worktrees.conftest import Place
from tests.integration.worktrees.states import STATES

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


def check(workspaces: WorktreeManager, place: Place, *what: Workspace | OrphanWorktree) -> None:
    before = place.snapshot()
    planned = workspaces.plan_removals(what)
    assert place.snapshot() == before
    assert planned == tuple(
        workspaces.retire(each) if isinstance(each, Workspace) else workspaces.collect(each) for each in what
    )


@pytest.mark.parametrize("prepare", PREPARATIONS)
@pytest.mark.parametrize("as_leftover", [False, True])
def test_every_state_is_foreseen(
    workspaces: WorktreeManager, workspace: Workspace, place: Place, prepare: str, as_leftover: bool
) -> None:
    place.leave(workspace.directory, prepare)
    if as_leftover:
        (orphan,) = workspaces.orphans([])
        check(workspaces, place, orphan)
    else:
        check(workspaces, place, workspace)


@pytest.mark.parametrize("more", ["", MODIFY, COMMIT])
def test_what_an_earlier_removal_of_the_run_changes_for_a_later_one_is_foreseen(
    workspaces: WorktreeManager, workspace: Workspace, place: Place, more: str
) -> None:
    """The second one stands on the first one's work: either holds it for the other while both are there."""
    place.leave(workspace.directory, COMMIT)
    second = workspaces.create("spec_2", workspace.directory, "isolated")
    place.leave(second.directory, more)
    check(workspaces, place, workspace, second)


def test_empty_strange_and_unfinished_directories_are_foreseen(workspaces: WorktreeManager, place: Place) -> None:
    (place.worktrees / "spec_5").mkdir()
    (place.worktrees / "spec_6").mkdir()
    (place.worktrees / "spec_6" / "file").touch()
    found = workspaces.orphans([])
    check(workspaces, place, *found)
