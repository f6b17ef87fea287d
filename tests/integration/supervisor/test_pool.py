"""Spare agents and worktrees with real tmux, git and demo agents: taken once, told who they are, replaced when bad."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
from collections.abc import Callable
from typing import cast

import pytest

from actors.instance.instance import Instance
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.pool import pool as pool_module
from supervisor.team.registry import Member
from tests.integration.supervisor.calls import agents, listed, received, send, settle, spawn, specialist, terminate
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements
from tests.launches import command_of
from tests.projects import git


async def prewarm(
    run: SupervisorRun, team: RestartableTeam, instances: int | None, **more: object
) -> results.PrewarmResult:
    fields = {"instances": instances, "workDir": str(team.repository), **more}
    request = requests.PrewarmRequest.model_validate(fields)
    return cast("results.PrewarmResult", await run.call("prewarm_resources", request))


def spares(run: SupervisorRun) -> list[Member]:
    return list(run.team.registry.spares())


def told(team: RestartableTeam, place: str) -> list[str]:
    """What the agent's hook told it, beside its prompts."""
    log = team.home.instance_directory(place) / "demo-log.jsonl"
    return [entry["told"] for line in log.read_text().split("\n") if line and "told" in (entry := json.loads(line))]


def place_of(run: SupervisorRun, instance_id: str) -> str:
    return run.team.registry.get(instance_id).record.place


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def test_a_spare_is_given_to_an_instance_which_is_like_any_other(team: RestartableTeam) -> None:
    run = await team.start_compared()
    ready = await prewarm(run, team, 1, role="manager")
    assert (ready.success, ready.instances, ready.errors) == (True, 1, [])
    (spare,) = spares(run)
    assert not await listed(run)
    pid = spare.record.pid
    git(team.repository, "commit", "-q", "--allow-empty", "-m", "newer")

    instance_id = await spawn(run, team, "the task", name="cart", role="manager")

    record = run.team.registry.get(instance_id).record
    assert (record.pid, record.spare) == (pid, spare.record.instance_id)
    assert record.workspace is not None
    assert record.workspace.base_commit == git(team.repository, "rev-parse", "HEAD")
    assert git(record.directory, "symbolic-ref", "--short", "HEAD") == f"phalanx/{instance_id}"
    assert agents(team)[instance_id].pid == pid
    (prompt,) = received(team.home, record.place)
    assert prompt.endswith("the task")
    (identity,) = told(team, record.place)
    branch, commit = f"phalanx/{instance_id}", str(record.workspace.base_commit)
    today = datetime.datetime.now().astimezone().date()
    for words in (instance_id, "(cart)", "manager", "led by the lead", branch, commit, f"Today is {today}."):
        assert words in identity
    await send(run, instance_id, "more")
    await settle(run, instance_id)
    assert len(told(team, record.place)) == 1, "it is told once"
    assert await disagreements(team, run) == []
    (record.directory / "work.txt").write_text("unsaved")
    ended = await terminate(run, instance_id)
    assert ended.saved_ref == f"refs/phalanx/saved/{instance_id}"
    assert not record.directory.exists()
    assert git(team.repository, "branch", "--list", "phalanx/*") == ""


async def test_no_two_takers_get_the_same_spare_and_those_who_find_none_start_cold(team: RestartableTeam) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 2)
    pids = {spare.record.pid for spare in spares(run)}
    ids = await asyncio.gather(*(spawn(run, team, f"task {n}") for n in range(4)))
    records = [run.team.registry.get(one).record for one in ids]
    assert len({record.pid for record in records}) == len(set(ids)) == 4
    assert {record.pid for record in records if record.spare} == pids
    tasks = [received(team.home, record.place)[0].rpartition("\n")[2] for record in records]
    assert tasks == [f"task {n}" for n in range(4)]
    assert await disagreements(team, run) == []
    await run.team.changes.until(lambda: not spares(run), 1.0)
    assert not spares(run), "what was ordered once is not made again"


@pytest.mark.parametrize("dies", ["agent", "actor", "worktree"])
async def test_a_spare_that_dies_while_it_is_being_taken_costs_the_taker_nothing(
    team: RestartableTeam, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 1)
    (spare,) = spares(run)
    hand_over = run.supervisor._spawner._starter._hand_over

    async def deadly(member: Member, given: Member, caller: Caller) -> None:
        if dies == "worktree":
            (given.record.directory / "stray.txt").write_text("x")
        await hand_over(member, given, caller)
        if dies == "agent":
            os.kill(given.record.pid, signal.SIGKILL)
        if dies == "actor":
            place = team.actors.instances[given.record.actor_name]
            await place.leave()
            vars(place).update(vars(Instance(team.catalog)))  # as its process is after Ray has started it again

    monkeypatch.setattr(run.supervisor._spawner._starter, "_hand_over", deadly)
    instance_id = await spawn(run, team, "the task")
    record = run.team.registry.get(instance_id).record
    assert received(team.home, record.place)[0].endswith("the task")
    assert (record.pid == spare.record.pid) == (dies == "actor")
    await until(lambda: not spares(run))
    await run.recovery.reconcile()
    assert await disagreements(team, run) == []


@pytest.mark.parametrize("why", ["dead", "program"])
async def test_a_spare_that_is_no_good_any_more_is_replaced(
    team: RestartableTeam, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "EVERY_S", 0.1)
    run = await team.start_compared(PREWARM_INSTANCES="1")
    await terminate(run, await spawn(run, team))
    await until(lambda: len(run.team.registry.spares()) == 1 and spares(run)[0].record.stage == "spare")
    (spare,) = spares(run)
    if why == "dead":
        os.kill(spare.record.pid, signal.SIGKILL)
    else:
        await run.team.save(spare.record.instance_id, program="another")
    await until(lambda: [s.record.stage == "spare" and s is not spare for s in spares(run)] == [True])
    assert spare.record.instance_id not in agents(team)


async def test_a_team_that_has_spawned_once_keeps_one_spare_by_itself_and_shows_it_until_that_is_turned_off(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared(PREWARM_INSTANCES="")
    assert await shown_spares(run) == (0, 0)
    first = await spawn(run, team)
    await until(lambda: [spare.record.stage == "spare" for spare in spares(run)] == [True])
    (spare,) = spares(run)
    assert await shown_spares(run) == (1, 1)
    assert (place_of(run, first), place_of(run, await spawn(run, team))) == (first, spare.record.instance_id)
    await until(lambda: [other is not spare for other in spares(run)] == [True])
    await run.call("optimize_settings", requests.OptimizeSettingsRequest(prewarm_instances=0))
    await until(lambda: not spares(run))
    assert await shown_spares(run) == (0, 0)


async def shown_spares(run: SupervisorRun) -> tuple[int, int]:
    """As ``list`` and ``status`` show them."""
    listed = cast("results.ListResult", await run.call("list", requests.ListRequest()))
    status = cast("results.StatusResult", await run.call("status", requests.StatusRequest()))
    return listed.spares, status.spares


async def test_a_spare_is_for_those_only_who_ask_for_just_what_it_is(team: RestartableTeam) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 1, env={"COLOUR": "red"})
    (spare,) = spares(run)
    plain, other = await spawn(run, team), await spawn(run, team, env={"COLOUR": "blue"})
    shared = await spawn(run, team, env={"COLOUR": "red"}, workspaceMode="shared")
    assert not {place_of(run, one) for one in (plain, other, shared)} & {spare.record.instance_id}
    red = await spawn(run, team, env={"COLOUR": "red"})
    assert place_of(run, red) == spare.record.instance_id
    assert b"COLOUR" not in b"".join((await run.supervisor._store.load("instance/")).values())


async def test_spare_worktrees_are_bound_to_instances_that_start_cold(team: RestartableTeam) -> None:
    run = await team.start_compared()
    ready = await prewarm(run, team, 0, worktrees=2)
    assert (ready.success, ready.worktrees) == (True, 2)
    names = {entry.name for entry in team.home.worktrees.iterdir()}
    assert not (await run.call("gc", requests.GcRequest())).items
    ids = await asyncio.gather(*(spawn(run, team) for _ in range(3)))
    worktrees = {run.team.registry.get(one).record.directory.name for one in ids}
    assert names < worktrees
    assert await disagreements(team, run) == []


async def test_spares_live_on_with_the_next_supervisor_and_end_with_the_team(team: RestartableTeam) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 2, worktrees=1)
    before = {spare.record.pid for spare in spares(run)}
    run = await team.restart(actors_die=True)
    assert {spare.record.pid for spare in spares(run)} == before
    assert not await listed(run)
    await until(lambda: all(spare.snapshot.status is Status.READY for spare in spares(run)))
    places = {spare.record.instance_id for spare in spares(run)}
    # What was left of the worktree is cleared away, and another one is made.
    names = {*places, "spare_4"}
    await until(lambda: {entry.name for entry in team.home.worktrees.iterdir()} == names)
    instance_id = await spawn(run, team, "the task")
    assert run.team.registry.get(instance_id).record.pid in before
    assert await disagreements(team, run) == []
    await run.call("shutdown", requests.ShutdownRequest())
    assert not spares(run)
    assert {name for name, agent in agents(team).items() if agent.alive} == set()
    assert {entry.name for entry in team.home.worktrees.iterdir()} == {place_of(run, instance_id)}


async def test_no_change_of_settings_ends_spares_that_an_earlier_supervisor_was_asked_for(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 2, worktrees=1)
    before = {spare.record.pid for spare in spares(run)}
    run = await team.restart(actors_die=True)
    await until(lambda: all(spare.snapshot.status is Status.READY for spare in spares(run)))
    await run.call("optimize_settings", requests.OptimizeSettingsRequest(message_batch_size=7, prewarm_instances=1))
    assert (await prewarm(run, team, None, worktrees=None)).instances == 2
    assert {spare.record.pid for spare in spares(run)} == before
    await spawn(run, team)
    found = cast("results.GetPerformanceResult", await run.call("get_performance", requests.GetPerformanceRequest()))
    assert found.metrics.pools.instances.wanted == 1
    await run.call("shutdown", requests.ShutdownRequest())
    run = await team.restart()
    found = cast("results.GetPerformanceResult", await run.call("get_performance", requests.GetPerformanceRequest()))
    pool = found.metrics.pools.instances
    assert (pool.ready, pool.wanted) == (0, 1)
    assert "the first instance to be spawned or resumed" in str(pool.waits_for)
    await run.call("resume", requests.ResumeRequest())
    await until(lambda: [spare.record.stage == "spare" for spare in spares(run)] == [True])


async def test_what_was_ordered_and_not_made_when_the_supervisor_was_killed_is_made_by_the_next_one(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared(PHALANX_DEMO_START_S="0.5")
    asked = run.begin(prewarm(run, team, 2))
    await until(lambda: bool(spares(run)))
    run = await team.restart()
    assert await run.team.changes.until(
        lambda: [spare.record.stage == "spare" for spare in spares(run)] == [True] * 2, 40.0
    )
    asked.cancel()
    assert await disagreements(team, run) == []


async def test_an_instance_that_was_a_spare_is_restarted_as_who_it_is(team: RestartableTeam) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 1)
    instance_id = await spawn(run, team, "the task")
    await run.call("restart", requests.RestartRequest(instance_id=instance_id))
    assert agents(team)[instance_id].alive
    words = command_of(team.home.instance_directory(place_of(run, instance_id)))
    assert any(f"You are {instance_id}" in word for word in words)
    await send(run, instance_id, "more")
    await settle(run, instance_id)
    assert await disagreements(team, run) == []


async def test_a_directory_that_cannot_be_prepared_is_told(team: RestartableTeam) -> None:
    run = await team.start_compared()
    bare = team.home.root.parent / "bare"
    bare.mkdir()
    refused = await prewarm(run, team, 2, workDir=str(bare))
    assert not refused.success
    assert "not in a git repository" in refused.errors[0]
    assert await disagreements(team, run) == []


async def test_a_spawn_for_which_there_is_no_memory_waits_and_the_team_says_so(team: RestartableTeam) -> None:
    run = await team.start_compared(PHALANX_MEMORY_RESERVE_MB="1000000")
    told: list[str] = []
    caller = Caller(sender="lead", progress=lambda done, total, what: told.append(what))
    request = requests.SpawnBatchRequest(instances=[specialist(team.repository, "the task")])
    waiting = asyncio.create_task(run.supervisor.call("spawn_batch", request, caller))
    await until(lambda: any("waits for room" in what for what in told))
    found = cast("results.ListResult", await run.call("list", requests.ListRequest()))
    assert ["waits to be started until there is memory" in warning for warning in found.warnings] == [True]
    assert not agents(team)
    run.supervisor._spawner._memory._reserve_mb = 0
    assert cast("results.SpawnBatchResult", await waiting).success


async def test_a_batch_beyond_memory_fails_in_words_member_by_member_and_lets_its_caller_go(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared(PHALANX_MEMORY_RESERVE_MB="1000000", PHALANX_SPAWN_TIMEOUT_S="3")
    members = [specialist(team.repository, f"task {number}") for number in range(12)]
    request = requests.SpawnBatchRequest(instances=members)
    asked = run.begin(run.supervisor.call("spawn_batch", request, Caller(sender="lead")))
    done = await asyncio.wait_for(asked, 20.0)
    assert isinstance(done, results.SpawnBatchResult)
    for member in done.instances:
        assert member.error is not None
        assert member.error.code == "unavailable"
        for words in ("beside the reserve of 1000000 MB", "needs up to 60 MB", "Terminate instances"):
            assert words in member.error.message
    assert await disagreements(team, run) == []
    assert not agents(team)
