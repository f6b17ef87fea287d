from __future__ import annotations

import pytest

from supervisor.git.params import base_of, check_file, check_name, check_revision


@pytest.mark.parametrize("name", ["main", "feature/login", "a.b", "ümlaut", "a@b", "x-y_z", "phalanx/spec_1_1_7"])
def test_a_name_that_git_allows_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("-d", "--force", "/a", ".a", "a/", "a.", "a..b", "a//b", "a/.b", "a.lock", "a.lock/b", "@", "HEAD", "a@{1}"),
        *("a b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a\nb", "a\0b", "a\x7fb", "a\udcff"),
    ],
)
def test_a_name_that_git_forbids_or_takes_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="git"):
        check_name(name)


@pytest.mark.parametrize("revision", ["HEAD~2", "main@{1 day ago}", "v1^{commit}", "a..b", ":/fix"])
def test_whatever_git_takes_for_a_commit_is_taken(revision: str) -> None:
    assert check_revision(revision) == revision


@pytest.mark.parametrize("revision", ["--output=/etc/passwd", "-n", "a\nb", "a\0", "\udcff"])
def test_a_revision_can_be_no_option_and_no_second_line(revision: str) -> None:
    with pytest.raises(ValueError, match="commit"):
        check_revision(revision)


def test_a_file_is_named_by_anything_but_a_zero_byte() -> None:
    assert check_file("-rf *") == "-rf *"
    with pytest.raises(ValueError, match="file"):
        check_file("a\0b")


def test_a_revision_begins_with_a_name() -> None:
    assert [base_of(each) for each in ("main", "main~2^", "main@{1}", "main:a")] == ["main"] * 4
