"""What is found out about unusual repositories before a worktree is made."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from actors.errors import InvalidRequestError
from actors.git.process import GitRunner
from actors.worktrees.source import SourceRepository, find_source
from tests.integration.worktrees.conftest import Place


def found(place: Place, directory: str) -> SourceRepository:
    source = find_source(GitRunner(place.environment), place.repository / directory)
    assert source is not None
    return source


@pytest.mark.parametrize(("directory", "prefix"), [("src/deep\nname", "deep\nname"), ("src", ""), ("", "")])
def test_the_working_tree_that_is_configured_counts(place: Place, directory: str, prefix: str) -> None:
    tree = place.repository / "src"
    (tree / "deep\nname").mkdir()
    place.git(place.repository, "config", "core.worktree", str(tree))

    source = found(place, directory)

    assert (source.top, source.prefix, source.bare) == (tree, PurePath(prefix), False)


@pytest.mark.parametrize("commits", [True, False])
def test_a_directory_below_the_top_is_told_as_its_prefix(place: Place, commits: bool) -> None:
    if not commits:
        place.git(place.repository, "checkout", "-q", "--orphan", "new")

    source = found(place, "src")

    assert (source.top, source.prefix) == (place.repository, PurePath("src"))
    assert (source.commit is not None) == commits


def test_a_directory_whose_broken_repository_git_passes_over_is_refused(place: Place) -> None:
    inner = place.repository / "src/.git"
    inner.mkdir()
    (inner / "HEAD").write_text("ref: refs/heads/main\n")

    with pytest.raises(InvalidRequestError, match="Remove the broken"):
        found(place, "src")


def test_the_inside_of_a_git_directory_is_refused(place: Place) -> None:
    with pytest.raises(InvalidRequestError, match="lies inside a"):
        found(place, ".git")


def test_a_head_that_is_a_symbolic_link_names_its_branch(place: Place) -> None:
    head = place.repository / ".git/HEAD"
    head.unlink()
    head.symlink_to("refs/heads/main")

    source = found(place, "")

    assert (source.branch, source.commit) == ("main", place.git(place.repository, "rev-parse", "HEAD"))
