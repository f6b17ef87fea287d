"""Spare worktrees: bound to an instance as if made for it, or not at all, and cleared away like all others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from actors.agents.names import READ_AT_START
from actors.errors import WorkspaceError
from actors.worktrees.model import Workspace
from tests.integration.worktrees.conftest import Place


@pytest.fixture
def spare(place: Place) -> Workspace:
    return place.manager.create_spare("spare_7", place.repository)


def test_a_spare_is_on_no_branch_and_bound_to_an_instance_it_is_like_any_other(place: Place, spare: Workspace) -> None:
    assert place.branches() == {"main"}
    bound = place.manager.bind_spare(spare, "spec_1", place.repository)
    fresh = place.create("spec_2")
    assert (bound.branch, bound.base_commit, bound.notes) == ("phalanx/spec_1", fresh.base_commit, fresh.notes)
    assert bound.worktree is not None
    assert place.git(bound.worktree, "symbolic-ref", "HEAD") == "refs/heads/phalanx/spec_1"
    assert place.git(bound.worktree, "status", "--porcelain") == ""
    place.commit(bound.worktree, "work.txt")
    assert place.manager.retire(bound).saved_ref == "refs/phalanx/saved/spec_1"


def test_it_is_put_on_the_commit_that_is_the_last_now(place: Place, spare: Workspace) -> None:
    newer = place.commit(place.repository, "src/more.py")
    bound = place.manager.bind_spare(spare, "spec_1", place.repository / "src")
    assert bound.base_commit == newer
    assert bound.directory == bound.worktree / "src"  # type: ignore[operator]
    assert (bound.directory / "more.py").exists()


@pytest.mark.parametrize("name", ["CLAUDE.md", "src/CLAUDE.md", ".claude/rules/one.md", ".mcp.json"])
def test_one_whose_agent_has_read_what_is_different_now_is_given_to_nobody(place: Place, name: str) -> None:
    spare = replace(place.manager.create_spare("spare_7", place.repository), read=READ_AT_START)
    place.commit(place.repository, name)
    with pytest.raises(WorkspaceError, match=f"has read what is different now: {name}"):
        place.manager.bind_spare(spare, "spec_1", place.repository)
    assert "phalanx/spec_1" not in place.branches()
    place.manager.undo(spare)


@pytest.mark.parametrize("touched", ["a new file", "a change", "another commit", "a branch", "gone"])
def test_one_that_was_touched_is_given_to_nobody_and_discarding_it_loses_nothing(
    place: Place, spare: Workspace, touched: str
) -> None:
    worktree = spare.worktree or Path()
    if touched == "a new file":
        (worktree / "new.txt").write_text("work")
    elif touched == "a change":
        (worktree / "src/code.py").write_text("work")
    elif touched == "another commit":
        place.commit(worktree, "work.txt", "work")
    elif touched == "a branch":
        place.git(worktree, "checkout", "-q", "-b", "mine")
    else:
        place.git(place.repository, "worktree", "remove", str(worktree))
    with pytest.raises(WorkspaceError, match="spare"):
        place.manager.bind_spare(spare, "spec_1", place.repository)
    assert "phalanx/spec_1" not in place.branches()
    place.manager.undo(spare)
    assert not worktree.exists()
    assert bool(place.saved()) == (touched in ("a new file", "a change", "another commit"))


def test_none_is_bound_twice_however_many_ask_at_once(place: Place, spare: Workspace) -> None:
    def bind(number: int) -> bool:
        try:
            place.manager.bind_spare(spare, f"spec_{number}", place.repository)
        except WorkspaceError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(bind, range(8))) == 1
    assert len(place.branches()) == 2


def test_one_that_was_bound_for_nothing_goes_with_the_branch_that_was_made_for_it(
    place: Place, spare: Workspace
) -> None:
    place.commit(place.repository, "more.txt")
    place.manager.bind_spare(spare, "spec_1", place.repository)
    (orphan,) = place.manager.orphans(())
    assert (orphan.branch, orphan.path) == ("phalanx/spec_1", spare.worktree)
    place.manager.undo(spare)
    assert place.branches() == {"main"}
    assert place.saved() == set()
    assert place.manager.orphans(()) == ()


def test_one_that_git_could_not_put_on_the_branch_leaves_the_name_to_the_worktree_that_comes_instead(
    place: Place, spare: Workspace
) -> None:
    place.commit(place.repository, ".gitattributes", "*.txt filter=broken\n")
    place.commit(place.repository, "more.txt")
    for key, value in {"smudge": "false", "required": "true"}.items():
        place.git(place.repository, "config", f"filter.broken.{key}", value)
    with pytest.raises(WorkspaceError, match="could not be put on"):
        place.manager.bind_spare(spare, "spec_1", place.repository)
    assert place.branches() == {"main"}
    place.git(place.repository, "config", "filter.broken.smudge", "cat")
    cold = place.create("spec_1")
    assert cold.branch == "phalanx/spec_1"
    assert place.manager.bound_branch(spare) == ""
    place.manager.undo(spare)
    assert not (spare.worktree or Path()).exists()
    assert place.branches() == {"main", "phalanx/spec_1"}


def test_one_that_got_on_the_branch_though_git_complained_takes_it_along(place: Place, spare: Workspace) -> None:
    place.commit(place.repository, "more.txt")
    place.hook("exit 1")
    with pytest.raises(WorkspaceError, match="could not be put on"):
        place.manager.bind_spare(spare, "spec_1", place.repository)
    place.manager.undo(spare)
    assert place.branches() == {"main"}


def test_a_name_that_is_taken_gives_another_branch_and_a_note(place: Place, spare: Workspace) -> None:
    place.git(place.repository, "branch", "phalanx/spec_1")
    bound = place.manager.bind_spare(spare, "spec_1", place.repository)
    assert bound.branch == "phalanx/spec_1-2"
    assert any("taken" in note for note in bound.notes)


def test_a_spare_that_is_left_over_is_collected(place: Place, spare: Workspace) -> None:
    (orphan,) = place.manager.orphans(())
    assert place.manager.collect(orphan).removed
    assert not (spare.worktree or Path()).exists()
    assert place.saved() == set()


def test_a_spare_of_another_repository_is_refused(place: Place, spare: Workspace) -> None:
    other = place.base / "other"
    place.git(place.base, "clone", "-q", str(place.repository), str(other))
    with pytest.raises(WorkspaceError, match="another repository"):
        place.manager.bind_spare(spare, "spec_1", other)
