"""``git_batch`` through all processes, and the death of the one that runs git."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.errors import UnavailableError
from supervisor.api.requests import GitBatchRequest, GitOperation
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.processes import called, of_ray, tell
from tests.projects import git


def operation(kind: str, directory: Path, **params: object) -> GitOperation:
    return GitOperation.model_validate({"type": kind, "workspaceDir": str(directory), "params": params})


async def test_fifty_branches_of_fifty_callers_are_made_without_a_lock_error(
    demo: SupervisorClient, demo_team: Team
) -> None:
    asked = [operation("branch", demo_team.repository, branchName=f"caller/{number}") for number in range(50)]

    made = await asyncio.gather(*map(demo.git_operation, asked))
    listed = await demo.git_batch(GitBatchRequest(operations=[operation("branch", demo_team.repository)]))

    assert all(outcome.success for outcome in made)
    assert listed.results[0].result is not None
    names = {each["name"] for each in listed.results[0].result["branches"]}
    assert names >= {f"caller/{number}" for number in range(50)}


async def test_a_commit_whose_host_is_killed_is_told_as_unknown_and_git_ends_it(
    demo: SupervisorClient, demo_team: Team, short_tmp: Path
) -> None:
    repository = demo_team.repository
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {short_tmp}/begun; while [ ! -e {short_tmp}/go ]; do sleep 0.02; done\n")
    hook.chmod(0o755)
    (repository / "new").write_text("x")
    commit = asyncio.create_task(demo.git_operation(operation("commit", repository, message="Cut off", all=True)))
    try:
        await _until((short_tmp / "begun").exists)
        tell(called(of_ray(demo_team.home), "ray::_HostServer"))
        with pytest.raises(UnavailableError, match="not known"):
            await commit
    finally:
        (short_tmp / "go").touch()
        hook.unlink()
        commit.cancel()
        await asyncio.gather(commit, return_exceptions=True)
    await _until(lambda: git(repository, "log", "-1", "--format=%s") == "Cut off")
    status = await demo.git_operation(operation("status", repository))

    assert status.result is not None
    assert status.result["clean"]


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
