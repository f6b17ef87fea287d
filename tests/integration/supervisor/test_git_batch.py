"""``git_batch`` over the real host and real repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.home import Home
from supervisor.api.requests import GitBatchRequest, Role, SpawnRequest
from supervisor.api.results import GitBatchResult
from supervisor.api.verbs import Caller
from supervisor.supervisor import Supervisor
from tests.projects import git


async def batch(supervisor: Supervisor, *operations: Any, progress: Any = None) -> GitBatchResult:
    caller = Caller(sender="lead", progress=progress) if progress else Caller(sender="lead")
    request = GitBatchRequest.model_validate({"operations": operations})
    result = await supervisor.call("git_batch", request, caller)
    assert isinstance(result, GitBatchResult)
    return result


def operation(kind: str, directory: Path | str, **params: Any) -> dict[str, Any]:
    return {"type": kind, "workspaceDir": str(directory), "params": params}


async def test_a_batch_is_done_as_if_one_after_another(supervisor: Supervisor, repository: Path) -> None:
    (repository / "new").write_text("x")
    done: list[tuple[int, int, str]] = []

    result = await batch(
        supervisor,
        operation("status", repository),
        operation("checkout", repository, branchName="work", create=True),
        operation("commit", repository, message="New", all=True),
        operation("log", repository, maxCount=1),
        operation("checkout", repository, branchName="main"),
        operation("merge", repository, branchName="work"),
        operation("branch", repository, branchName="later"),
        operation("branch", repository),
        operation("status", repository),
        progress=lambda *told: done.append(told),
    )

    assert result.success, result
    values = [outcome.result or {} for outcome in result.results]
    assert values[0]["untracked"] == ["new"]
    assert values[3]["commits"][0]["subject"] == "New"
    assert values[5]["fastForward"]
    assert [each["name"] for each in values[7]["branches"]] == ["later", "main", "work"]
    assert (values[8]["branch"], values[8]["clean"]) == ("main", True)
    assert [told[:2] for told in done] == [(number, 9) for number in range(10)]
    assert result.performance.total_operations == 9
    assert result.performance.avg_git_op_time > 0


async def test_a_malformed_operation_fails_alone_and_in_its_place(supervisor: Supervisor, repository: Path) -> None:
    done: list[tuple[int, int, str]] = []
    wrong = [{"type": "push", "workspaceDir": str(repository)}, {"type": "status"}, "status", None]
    result = await batch(
        supervisor,
        operation("branch", repository, branchName="before"),
        *wrong,
        operation("branch", repository),
        progress=lambda *told: done.append(told),
    )
    assert not result.success
    assert [outcome.success for outcome in result.results] == [True, False, False, False, False, True]
    told = [(each.type, each.workspace_dir, each.error.message) for each in result.results if each.error]
    assert [each[:2] for each in told] == [(None, str(repository)), ("status", ""), (None, ""), (None, "")]
    for (_, _, message), words in zip(
        told, ["type cannot be 'push', only 'status'", "workspaceDir is missing", *["an object"] * 2], strict=True
    ):
        assert words in message
    listed = result.results[-1].result or {}
    assert [each["name"] for each in listed["branches"]] == ["before", "main"]
    assert [each[:2] for each in done] == [(number, 6) for number in range(7)]


async def test_a_repeated_call_with_a_malformed_operation_does_the_others_once(
    supervisor: Supervisor, repository: Path
) -> None:
    operations = [{"type": "tag"}, operation("branch", repository, branchName="once")]
    request = GitBatchRequest.model_validate({"operations": operations, "requestId": "r1"})
    for _ in range(2):
        result = await supervisor.call("git_batch", request, Caller(sender="lead"))
        assert isinstance(result, GitBatchResult)
        assert [outcome.success for outcome in result.results] == [False, True]


async def test_fifty_branches_are_made_by_one_git(supervisor: Supervisor, repository: Path, short_tmp: Path) -> None:
    hook = repository / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\necho "$1" >> {short_tmp}/transactions\n')
    hook.chmod(0o755)

    result = await batch(supervisor, *(operation("branch", repository, branchName=f"b{n}") for n in range(50)))

    assert result.success
    assert len(git(repository, "branch", "--list", "b*").split()) == 50
    states = (short_tmp / "transactions").read_text().split()  # git 2.55 also tells the hook "preparing"
    assert [state for state in states if state != "preparing"] == ["prepared", "committed"]


async def test_an_answer_is_cached_until_something_changes(supervisor: Supervisor, repository: Path) -> None:
    status = operation("log", repository)
    while not (again := await batch(supervisor, status)).results[0].cached:
        assert again.success
    git(repository, "commit", "-q", "--allow-empty", "-m", "Elsewhere")
    changed = await batch(supervisor, status)

    assert again.performance.cache_hits == 1
    assert not changed.results[0].cached
    assert changed.results[0].result is not None
    assert changed.results[0].result["commits"][0]["subject"] == "Elsewhere"


async def test_what_cannot_be_fails_alone_and_says_why(supervisor: Supervisor, repository: Path, home: Home) -> None:
    result = await batch(
        supervisor,
        operation("status", repository),
        operation("branch", repository, branchName="--force"),
        operation("status", ""),
        operation("status", "x" * 5000),
        operation("status", "relative"),
        operation("status", home.root),
        operation("status", repository / "nowhere"),
        operation("status", "/usr"),
        operation("merge", repository, branchName="nowhere"),
        operation("branch", repository, branchName="fine"),
    )

    assert [outcome.success for outcome in result.results] == [True, *[False] * 8, True]
    told = [outcome.error.message if outcome.error else "" for outcome in result.results]
    for text, words in zip(
        told[1:9],
        [
            "no such name",
            "workspaceDir",
            "workspaceDir",
            "workspaceDir must be an absolute path",
            "belongs to Phalanx",
            "not a dir",
            "no git",
            "nowhere",
        ],
        strict=True,
    ):
        assert words in text
    assert not result.success
    assert len(result.results[3].workspace_dir) <= 500


async def test_a_members_work_is_committed_in_its_worktree_and_merged(supervisor: Supervisor, repository: Path) -> None:
    spawn = SpawnRequest(role=Role.SPECIALIST, work_dir=str(repository), context="hello", agent="demo")
    member = await supervisor.spawn(spawn, Caller(sender="lead"))
    (Path(member.working_directory) / "work").write_text("done")

    result = await batch(
        supervisor,
        operation("commit", member.working_directory, message="Work", files=["work"]),
        operation("merge", repository, branchName=member.branch, dryRun=True),
        operation("merge", repository, branchName=member.branch),
    )

    assert result.success, result
    assert (repository / "work").read_text() == "done"
