"""A plan of removals tells what the removals answer then, and changes nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import OrphanWorktree, Workspace
from tests.integration.worktrees import states
from tests.integration.worktrees.conftest import Place

Prepare = Callable[[Place, Path], None]


def commit(place: Place, tree: Path) -> None:
    place.commit(tree, f"work of {tree.name}.txt")


def commit_and_modify(place: Place, tree: Path) -> None:
    commit(place, tree)
    states.modify(place, tree)


def merge(place: Place, tree: Path) -> None:
    commit(place, tree)
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")


def lock(place: Place, tree: Path) -> None:
    states.modify(place, tree)
    place.git(tree, "worktree", "lock", str(tree))


def clone_inside(place: Place, tree: Path) -> None:
    place.git(tree, "clone", "-q", str(place.repository), str(tree / "clone"))


def save_before(place: Place, tree: Path) -> None:
    states.modify(place, tree)
    place.git(place.repository, "update-ref", "refs/phalanx/saved/spec_1", "HEAD")


def leave(place: Place, tree: Path) -> None:
    commit(place, tree)
    place.git(tree, "checkout", "-q", "--detach", "HEAD")


def nothing(place: Place, tree: Path) -> None:
    """It stays as it was made."""


def check(workspaces: WorktreeManager, place: Place, *what: Workspace | OrphanWorktree) -> None:
    before = place.snapshot()
    planned = workspaces.plan_removals(what)
    assert place.snapshot() == before
    assert planned == tuple(
        workspaces.retire(each) if isinstance(each, Workspace) else workspaces.collect(each) for each in what
    )


@pytest.mark.parametrize(
    "prepare",
    [
        nothing,
        commit,
        commit_and_modify,
        merge,
        lock,
        clone_inside,
        save_before,
        leave,
        states.modify,
        states.stage_and_modify_again,
        states.leave_untracked,
        states.leave_ignored,
    ],
)
@pytest.mark.parametrize("as_leftover", [False, True])
def test_every_state_is_foreseen(
    workspaces: WorktreeManager, workspace: Workspace, place: Place, prepare: Prepare, as_leftover: bool
) -> None:
    prepare(place, workspace.directory)
    if as_leftover:
        (orphan,) = workspaces.orphans([])
        check(workspaces, place, orphan)
    else:
        check(workspaces, place, workspace)


@pytest.mark.parametrize("more", [nothing, states.modify, commit])
def test_what_an_earlier_removal_of_the_run_changes_for_a_later_one_is_foreseen(
    workspaces: WorktreeManager, workspace: Workspace, place: Place, more: Prepare
) -> None:
    """The second one stands on the first one's work: either holds it for the other while both are there."""
    commit(place, workspace.directory)
    second = workspaces.create("spec_2", workspace.directory, "isolated")
    more(place, second.directory)
    check(workspaces, place, workspace, second)


def test_empty_strange_and_unfinished_directories_are_foreseen(workspaces: WorktreeManager, place: Place) -> None:
    (place.worktrees / "spec_5").mkdir()
    (place.worktrees / "spec_6").mkdir()
    (place.worktrees / "spec_6" / "file").touch()
    found = workspaces.orphans([])
    check(workspaces, place, *found)
