"""``git_batch`` by instances: in the real workspaces of their part of the team, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.errors import RefusedError
from supervisor.api import results
from supervisor.api.requests import GitBatchRequest
from supervisor.api.verbs import Caller
from supervisor.team.access import new_token, token_hash
from tests.integration.supervisor.calls import settle, spawn, specialist
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun
from tests.projects import git, make_repository

STATUS: dict[str, Any] = {"type": "status"}
COMMIT: dict[str, Any] = {"type": "commit", "params": {"message": "m", "all": True}}


async def asked(run: SupervisorRun, caller: str, directory: Path, *operations: dict[str, Any]) -> list[str]:
    """What is wrong with each operation of this instance there; empty where nothing is."""
    token = new_token()
    await run.team.save(caller, token_hash=token_hash(token))
    request = GitBatchRequest.model_validate(
        {"operations": [{**each, "workspaceDir": str(directory)} for each in operations]}
    )
    answer = await run.supervisor.call("git_batch", request, Caller(sender="whoever", token=token))
    assert isinstance(answer, results.GitBatchResult)
    return [each.error.message if each.error else "" for each in answer.results]


async def test_instances_use_git_in_their_own_worktrees_and_shared_directories(team: RestartableTeam) -> None:
    (team.repository / "src").mkdir()
    (team.repository / "src/a.txt").write_text("a")
    git(team.repository, "add", ".")
    git(team.repository, "commit", "-qm", "src")
    run = await team.start_compared()
    lead = await spawn(run, team, "hello", role="manager")
    own = run.team.registry.get(lead).record.directory
    places = {
        lead: lead,
        await spawn(run, team, "hello", parentId=lead): lead,
        await spawn(run, team, "hello", workDir=str(team.repository / "src")): "",
        await spawn(run, team, "hello", workspaceMode="shared"): "",
        await spawn(run, team, "hello", workspaceMode="shared", workDir=str(own), parentId=lead): lead,
    }

    for instance_id, led_by in places.items():
        directory = run.team.registry.get(instance_id).record.directory
        (directory / f"{instance_id}.txt").write_text("work")
        assert await asked(run, led_by or instance_id, directory, STATUS, COMMIT) == ["", ""], instance_id


async def test_no_link_and_no_branch_leads_into_the_work_of_others(team: RestartableTeam) -> None:
    run = await team.start_compared()
    one, other = [await spawn(run, team, "hello") for _ in range(2)]
    own, others = (run.team.registry.get(each).record.directory for each in (one, other))
    git(team.repository, "switch", "-qc", "dev")
    git(team.repository, "branch", "feature")
    (others / "sub").mkdir()
    (others / "secret.txt").write_text("not finished")
    (own / "link").symlink_to(others / "sub")
    of_others = ("refs/heads/main", "refs/heads/feature", f"refs/heads/phalanx/{other}")
    before = git(team.repository, "for-each-ref", *of_others)

    assert await asked(run, one, own / "link" / "..", STATUS) == [""]
    told = await asked(
        run,
        one,
        own,
        {"type": "checkout", "params": {"branchName": "main"}},
        {"type": "branch", "params": {"action": "delete", "branchName": "feature"}},
        {"type": "checkout", "params": {"branchName": "mine", "create": True}},
        {"type": "checkout", "params": {"branchName": f"phalanx/{one}"}},
    )
    assert [bool(each) for each in told] == [True, True, False, False]
    own.rename(own.with_name("away"))
    own.symlink_to(others)
    assert ["made there" in each for each in await asked(run, one, own, STATUS, COMMIT)] == [True, True]
    own.unlink()
    own.with_name("away").rename(own)

    assert git(others, "status", "--porcelain") != ""
    assert git(team.repository, "for-each-ref", *of_others) == before
    assert await asked(run, one, own, STATUS) == [""]


async def test_no_file_of_git_in_a_shared_directory_leads_into_another_worktree(team: RestartableTeam) -> None:
    source = team.repository / "src"
    source.mkdir()
    (source / "a.txt").write_text("a")
    git(team.repository, "add", ".")
    git(team.repository, "commit", "-qm", "src")
    run = await team.start_compared()
    other, lead = await spawn(run, team, "hello"), await spawn(run, team, "hello", role="manager")
    own = run.team.registry.get(lead).record.directory
    below = await spawn(run, team, "hello", workspaceMode="shared", workDir=str(own), parentId=lead)
    beside = await spawn(run, team, "hello", workspaceMode="shared", workDir=str(source))
    workspace = run.team.registry.get(other).record.workspace
    assert workspace is not None
    before = git(team.repository, "for-each-ref")

    for instance_id, directory in ((beside, source), (below, own)):
        assert await asked(run, instance_id, directory, STATUS) == [""]
        (directory / ".git").write_text(f"gitdir: {workspace.registration}\n")
        told = await asked(run, instance_id, directory, STATUS, COMMIT)
        assert ["made there" in each for each in told] == [True, True], directory
    assert git(team.repository, "for-each-ref") == before


async def test_who_began_outside_of_git_uses_no_repository_that_has_come_since(
    team: RestartableTeam, short_tmp: Path
) -> None:
    run = await team.start_compared()
    plain = short_tmp / "plain"
    plain.mkdir()
    one = await spawn(run, team, "hello", workspaceMode="shared", workDir=str(plain))
    before = git(team.repository, "for-each-ref")
    (plain / ".git").write_text(f"gitdir: {team.repository / '.git'}\n")
    (plain / "x.txt").write_text("x")

    told = await asked(run, one, plain, STATUS, COMMIT)

    assert ["in no git repository" in each for each in told] == [True, True]
    assert git(team.repository, "for-each-ref") == before


async def test_no_file_of_git_gives_those_below_an_instance_a_worktree_of_another_repository(
    team: RestartableTeam, short_tmp: Path
) -> None:
    run = await team.start_compared()
    lead = await spawn(run, team, "hello", role="manager")
    await settle(run, lead)
    private = make_repository(short_tmp / "private")
    before = git(private, "for-each-ref")
    own = run.team.registry.get(lead).record.directory
    (own / "sub").mkdir()
    (own / "sub/.git").write_text(f"gitdir: {private / '.git'}\n")
    token = new_token()
    await run.team.save(lead, token_hash=token_hash(token))
    caller = Caller(sender="whoever", token=token)

    for mode in ("isolated", "shared"):
        request = specialist(own / "sub", workspaceMode=mode)
        with pytest.raises(RefusedError, match="not the one that you work in"):
            await run.supervisor.call("spawn", request, caller)

    assert git(private, "for-each-ref") == before
    assert git(private, "worktree", "list").count("\n") == 0
    assert [member.record.instance_id for member in run.team.registry] == [lead]
    made = await run.supervisor.call("spawn", specialist(own), caller)
    assert isinstance(made, results.SpawnResult)
