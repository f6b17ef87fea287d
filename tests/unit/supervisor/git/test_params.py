"""What each type of git_batch takes, and that no name can be an option or a line of its own."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import InvalidRequestError
from actors.git import model
from supervisor.api.requests import GitBatchRequest, GitOperation
from supervisor.api.validation import parse
from supervisor.git.params import base_of, check_file, check_name, check_revision, operation_of


def operation(kind: str, **params: Any) -> model.Operation:
    return operation_of(GitOperation.model_validate({"type": kind, "workspaceDir": "/src", "params": params}))


@pytest.mark.parametrize(
    ("kind", "params", "meant"),
    [
        ("status", {}, model.ReadStatus()),
        ("branch", {}, model.ListRefs(kind="branch")),
        ("branch", {"branchName": "a/b"}, model.CreateRef(kind="branch", name="a/b", start=None)),
        ("branch", {"action": "delete", "branchName": "a"}, model.DeleteBranch(name="a")),
        ("tag", {"tagName": "v1", "target": "main~1"}, model.CreateRef(kind="tag", name="v1", start="main~1")),
        ("checkout", {"branchName": "a"}, model.Checkout(branch="a", create=False, start=None)),
        ("commit", {"message": "m", "all": True}, model.Commit(message="m", files=(), everything=True)),
        ("merge", {"branchName": "a"}, model.Merge(branch="a", message=None)),
        ("merge", {"branchName": "a", "dryRun": True}, model.PredictMerge(branch="a")),
        ("diff", {"base": "a", "head": "b"}, model.ReadDiff(base="a", head="b", staged=False)),
        ("log", {"maxCount": 3}, model.ReadLog(revision=None, limit=3)),
        ("worktree", {}, model.ListWorktrees()),
    ],
)
def test_params_mean_an_operation(kind: str, params: dict[str, Any], meant: model.Operation) -> None:
    assert operation(kind, **params) == meant


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("status", {"short": True}, "params.short is no known argument"),
        ("branch", {"branchName": "--force"}, "git allows no such name"),
        ("branch", {"action": "delete"}, "delete needs a branchName"),
        ("branch", {"action": "list", "branchName": "a"}, "list takes no branchName"),
        ("branch", {"startPoint": "main"}, "startPoint is for create only"),
        ("branch", {"branch_nam": "a"}, "Did you mean branchName?"),
        ("checkout", {}, "params.branchName is missing"),
        ("checkout", {"branchName": "a", "startPoint": "main"}, "create true only"),
        ("commit", {"message": " \n"}, "params.message cannot be"),
        ("commit", {"message": "m", "files": ["a"], "all": True}, "not both"),
        ("merge", {"branchName": "-X ours"}, "no name of a commit"),
        ("diff", {"head": "a"}, "head needs a base"),
        ("log", {"maxCount": 0}, "maxCount"),
        ("worktree", {"action": "remove"}, "only 'list'"),
    ],
)
def test_params_that_mean_nothing_are_refused_by_name(kind: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        operation(kind, **params)
    assert told in str(refused.value)


def test_an_operation_that_stands_by_itself_is_refused_with_the_form_of_a_batch() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(GitBatchRequest, {"type": "status"})
    assert "operations is missing. A list of {type, workspaceDir, params}." in str(refused.value)


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
