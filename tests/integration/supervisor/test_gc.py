"""What terminated instances have left behind is cleared away, and nothing of anybody's is lost."""

from __future__ import annotations

from typing import cast

import pytest

from actors.errors import InvalidRequestError
from actors.status import Status
from supervisor.api import requests, results
from tests.integration.supervisor.calls import agents, listed, settle, spawn, specialist, terminate
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements
from tests.projects import git


async def collect(run: SupervisorRun, *, dry_run: bool = False) -> dict[str, results.CollectedItem]:
    found = cast("results.GcResult", await run.call("gc", requests.GcRequest(dry_run=dry_run)))
    assert found.dry_run is dry_run
    return {item.path.rpartition("/")[2]: item for item in found.items}


async def test_a_dry_run_shows_what_goes_and_the_real_one_saves_and_removes_it(team: RestartableTeam) -> None:
    run = await team.start_compared()
    owner = await spawn(run, team)
    worktree = team.home.worktrees / owner
    guest = await spawn(run, team, workDir=str(worktree), workspaceMode="shared")
    plain = await spawn(run, team)
    await settle(run, owner, guest, plain)
    (worktree / "unsaved.txt").write_text("work")
    kept = await terminate(run, owner)
    assert guest in (kept.kept or "")
    await terminate(run, plain)
    orphan, directory = team.home.worktrees / "spec_0_0_70", team.home.instance_directory("spec_0_0_71")
    git(team.repository, "worktree", "add", "-q", "-b", "phalanx/spec_0_0_70", str(orphan))
    (orphan / "more.txt").write_text("more work")
    directory.mkdir(mode=0o700)

    expected = {owner, plain, "spec_0_0_70", "spec_0_0_71"}
    dry = await collect(run, dry_run=True)
    assert dry.keys() == expected
    assert (dry[owner].path, dry[plain].path) == (str(worktree), str(team.home.instance_directory(plain)))
    assert worktree.is_dir()
    assert orphan.is_dir()
    assert directory.is_dir()
    assert len(await listed(run)) == 3

    first = await collect(run)
    assert first == dry
    assert first["spec_0_0_70"].repository == str(team.repository / ".git")
    assert {name for name, item in first.items() if item.kept} == {owner}
    assert guest in (first[owner].kept or "")
    await terminate(run, guest)
    second = await collect(run)
    assert second.keys() == {owner, guest}
    assert not worktree.exists()
    assert not orphan.exists()
    assert git(team.repository, "show", f"{second[owner].saved_ref}:unsaved.txt") == "work"
    assert git(team.repository, "show", f"{first['spec_0_0_70'].saved_ref}:more.txt") == "more work"
    assert await listed(run) == {}
    assert await collect(run) == {}
    assert await disagreements(team, run) == []
    run = await team.restart(actors_die=True)
    assert await listed(run) == {}
    assert await spawn(run, team) == "spec_0_0_4"


async def test_a_spawn_that_is_repeated_after_its_instance_was_cleared_away_gets_the_first_one_and_starts_nobody(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    first = await spawn(run, team, requestId="r1")
    await settle(run, first)
    await terminate(run, first)
    assert await spawn(run, team, requestId="r1") == first
    assert list(await collect(run)) == [first]
    assert await listed(run) == {}
    for _ in range(2):
        again = cast("results.SpawnResult", await run.call("spawn", specialist(team.repository, requestId="r1")))
        assert (again.instance_id, again.status) == (first, Status.STOPPED)
        with pytest.raises(InvalidRequestError, match="another call"):
            await spawn(run, team, "something else", requestId="r1")
        run = await team.restart(actors_die=True)
    assert agents(team) == {}
    assert await disagreements(team, run) == []


async def test_who_lives_or_can_be_resumed_is_not_touched(team: RestartableTeam) -> None:
    run = await team.start_compared()
    alive, failed = await spawn(run, team), await spawn(run, team, "@@demo crash 9")
    await settle(run, alive, failed)
    (team.home.worktrees / failed / "unsaved.txt").write_text("work")
    assert await collect(run) == {}
    assert (team.home.worktrees / failed / "unsaved.txt").exists()
    assert await disagreements(team, run) == []
