from __future__ import annotations

import pytest

from actors.git.reads import MOST_PATHS, read_porcelain

_MODES = "N... 100644 100644 100644 aaaa bbbb"


def listing(*entries: str) -> str:
    return "".join(f"{entry}\0" for entry in entries)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (("# branch.oid abc", "# branch.head main"), ("main", "abc", None, None, None)),
        (
            ("# branch.head main", "# branch.upstream o/main", "# branch.ab +2 -3"),
            ("main", None, "o/main", 2, 3),
        ),
        (("# branch.oid (initial)", "# branch.head (detached)"), (None, None, None, None, None)),
    ],
)
def test_a_clean_tree_tells_branch_commit_and_the_distance_to_the_upstream(
    head: tuple[str, ...], told: tuple[object, ...]
) -> None:
    result, ignored = read_porcelain(listing(*head))

    assert tuple(result[name] for name in ("branch", "commit", "upstream", "ahead", "behind")) == told
    assert result["clean"]
    assert not ignored


def test_every_kind_of_change_goes_where_it_belongs() -> None:
    result, ignored = read_porcelain(
        listing(
            f"1 M. {_MODES} staged file",
            f"1 .M {_MODES} un\nstaged",
            f"1 MM {_MODES} both",
            f"2 R. {_MODES} R100 new name",
            "old name",
            "u UU N... 100644 100644 100644 100644 a b c in conflict",
            "? new",
            "! build/",
        )
    )

    assert result["staged"] == ["staged file", "both", "new name"]
    assert result["unstaged"] == ["un\nstaged", "both"]
    assert result["conflicted"] == ["in conflict"]
    assert result["untracked"] == ["new"]
    assert ignored == {"build/"}
    assert not result["clean"]


def test_of_very_many_paths_some_are_shown_and_all_counted() -> None:
    result, _ = read_porcelain(listing(*(f"? {number}" for number in range(MOST_PATHS + 7))))

    assert len(result["untracked"]) == MOST_PATHS
    assert result["counts"]["untracked"] == MOST_PATHS + 7
