from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.worktrees.source import WorktreeStatus, is_rebuilt, read_index, read_status, some_of

_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def test_an_empty_listing_means_a_clean_tree() -> None:
    assert read_status("") == WorktreeStatus(changed=(), ignored=())


@given(st.lists(st.tuples(st.sampled_from([" M", "A ", "??", "UU", "D ", "!!"]), _NAMES)))
def test_every_listed_path_is_either_changed_or_ignored(entries: list[tuple[str, str]]) -> None:
    status = read_status("".join(f"{state} {path}\0" for state, path in entries))
    assert status.changed == tuple(path for state, path in entries if state != "!!")
    assert status.ignored == tuple(path for state, path in entries if state == "!!")


def test_files_that_status_does_not_look_at_are_told_apart() -> None:
    index = read_index("H plain\0h assumed\0S skipped file\0s both\0")
    assert (index.unwatched, index.skipped) == (("assumed", "both"), ("skipped file",))
    assert index.paths == ("plain", "assumed", "skipped file", "both")


def test_only_a_file_that_is_not_as_staged_differs() -> None:
    status = read_status("M  staged\0 M modified\0MM both\0A  added\0 D deleted\0D  removed\0?? new\0!! ignored\0")
    assert status.differing == ("modified", "both", "deleted", "new")


@pytest.mark.parametrize("state", ["UU", "AA", "DD", "AU", "UD", "UA", "DU"])
def test_conflicts_are_known_by_their_letters(state: str) -> None:
    assert read_status(f"{state} file\0A  other\0").in_conflict == ("file",)


@pytest.mark.parametrize("path", ["node_modules/", "a/__pycache__/b.pyc", ".mypy_cache/", ".venv/bin/"])
def test_what_a_program_makes_anew_is_known_by_its_directory(path: str) -> None:
    assert is_rebuilt(path)


@pytest.mark.parametrize("path", [".env", "build/", "data.sqlite", "my_node_modules/", "venv/", "b.pyc"])
def test_any_other_ignored_path_may_be_work(path: str) -> None:
    assert not is_rebuilt(path)


def test_a_sentence_names_three_paths_and_counts_the_rest() -> None:
    assert some_of(("a",)) == "'a'"
    assert some_of(("a", "b\n", "c", "d", "e")) == "'a', 'b\\n', 'c' and 2 more"
