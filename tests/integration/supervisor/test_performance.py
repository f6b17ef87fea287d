"""Figures, events and tuning of a team of demo agents: real tmux, git and store, no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import dropwhile
from typing import Any, cast

import pytest

from actors.messages import MessageStatus
from supervisor.api import requests, results
from supervisor.api.requests import SpawnBatchRequest
from supervisor.api.results import Performance, TeamEvent
from supervisor.api.validation import parse
from supervisor.metrics import service
from supervisor.metrics.metrics import Timing
from supervisor.records import decode_bucket
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.store import keys
from tests.integration.supervisor import calls
from tests.integration.supervisor.calls import received, specialist
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun

SLOW_START = {"PHALANX_DEMO_START_S": "1"}


async def performance(run: SupervisorRun, window_s: float = 300) -> results.GetPerformanceResult:
    request = requests.GetPerformanceRequest(window_seconds=window_s)
    return cast("results.GetPerformanceResult", await run.call("get_performance", request))


async def tune(run: SupervisorRun, **arguments: Any) -> results.OptimizeSettingsResult:
    request = parse(requests.OptimizeSettingsRequest, arguments)
    return cast("results.OptimizeSettingsResult", await run.call("optimize_settings", request))


def ours_of(performance: Performance) -> list[str]:
    """Why points were lost; what else the machine of the tests does is no fault of the team."""
    return [lost.reason for lost in performance.lost if "cores" not in lost.reason]


async def test_what_a_team_did_is_counted_and_an_idle_healthy_one_has_a_hundred_points(team: RestartableTeam) -> None:
    run = await team.start()
    instance_id = await calls.spawn(run, team)
    sent = await calls.send(run, instance_id, "one", "two", "three")
    await calls.settle(run, instance_id)
    assert all(calls.receipt_of(run, one).status is MessageStatus.SUBMITTED for one in sent)
    seen = await performance(run)
    spawns, messages = seen.metrics.spawns, seen.messages
    assert (spawns.total, spawns.failed, spawns.time.count) == (1, 0, 1)
    assert 0 < spawns.time.p50 <= spawns.time.max < 20_000
    assert (messages.total, messages.delivered, messages.pending) == (4, 4, 0)
    assert 2 <= messages.turns <= 4
    assert messages.avg_batch_size == round(4 / messages.turns, 2)
    assert seen.metrics.instances.by_status == {"ready": 1}
    (host,) = seen.metrics.hosts
    assert (host.instances, host.memory_total_mb > host.memory_available_mb > 0) == (1, True)
    assert seen.metrics.store.mode == "SQLite"
    assert sum(point.messages for point in seen.history) == 4
    assert ours_of(seen.performance) == []
    assert seen.performance.score == 100 - sum(lost.points for lost in seen.performance.lost)


async def test_a_spawn_that_fails_is_counted_and_costs_points_with_its_reason(team: RestartableTeam) -> None:
    run = await team.start()
    request = specialist(team.repository, env={"PHALANX_DEMO_FAULTS": "exit-at-start=3"})
    await asyncio.gather(run.call("spawn", request), return_exceptions=True)
    seen = await performance(run)
    assert (seen.metrics.spawns.total, seen.metrics.spawns.failed) == (1, 1)
    assert seen.performance.score < 100
    (lost,) = ours_of(seen.performance)
    assert lost.startswith("1 of 1 spawns failed. The last one: The agent of ")
    assert "the agent ended with exit status 3" in lost


async def test_the_cap_can_be_changed_while_spawns_run_and_is_never_exceeded(team: RestartableTeam) -> None:
    run = await team.start()
    await tune(run, maxConcurrentSpawns=1)
    members = [specialist(team.repository, env=SLOW_START) for _ in range(6)]
    spawning = asyncio.create_task(run.call("spawn_batch", SpawnBatchRequest(instances=members)))
    queue = (await performance(run)).queues.spawn
    async with asyncio.timeout(10):
        while queue.running + queue.pending < len(members):
            await asyncio.sleep(0.01)
            queue = (await performance(run)).queues.spawn
    assert (queue.running, queue.pending, queue.limit) == (1, 5, 1)
    await tune(run, maxConcurrentSpawns=3)
    queue = (await performance(run)).queues.spawn
    assert (queue.running, queue.pending) == (3, 3)
    await tune(run, maxConcurrentSpawns=2)
    seen: list[int] = []
    while not spawning.done():
        seen.append((await performance(run)).queues.spawn.running)
        await asyncio.sleep(0.01)
    assert spawning.result().success
    assert max(dropwhile(lambda held: held > 2, seen)) == 2


@pytest.mark.parametrize("actors_die", [False, True])
async def test_what_was_tuned_and_the_history_survive_a_killed_supervisor(
    team: RestartableTeam, actors_die: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SAVE_AFTER_S", 0.01)
    run = await team.start()
    instance_id = await calls.spawn(run, team)
    await tune(run, maxConcurrentSpawns=10, messageBatchSize=2, auto=True)
    async with asyncio.timeout(10):
        while not await _stores_a_spawn(run):
            await calls.listed(run)  # is timed, so that what came during a save is stored with the next one

    later = await team.restart(actors_die=actors_die)
    seen = await performance(later)
    assert seen.metrics.spawns.total == 1
    assert (seen.queues.spawn.limit, seen.settings.message_batch_size, seen.settings.auto) == (10, 2, True)
    await calls.send(later, instance_id, "one", "two", "three")
    await calls.settle(later, instance_id)
    prompts = received(team.home, instance_id)
    assert max(prompt.count("[phalanx") for prompt in prompts) <= 2


async def test_batches_of_living_instances_follow_the_settings(team: RestartableTeam) -> None:
    run = await team.start()
    instance_id = await calls.spawn(run, team)
    await tune(run, messageBatchSize=1)
    before = len(received(team.home, instance_id))
    await calls.send(run, instance_id, "one", "two", "three")
    await calls.settle(run, instance_id)
    assert len(received(team.home, instance_id)) == before + 3


async def test_with_auto_the_cap_rises_while_spawns_wait_and_the_team_says_why(team: RestartableTeam) -> None:
    run = await team.start()
    await tune(run, maxConcurrentSpawns=1, auto=True)
    members = [specialist(team.repository, env=SLOW_START) for _ in range(8)]
    assert (await run.call("spawn_batch", SpawnBatchRequest(instances=members))).success
    seen = await performance(run)
    assert [(step.before, step.after) for step in seen.auto][:1] == [(1, 2)]
    assert "spawns wait" in seen.auto[0].reason
    assert seen.settings.max_concurrent_spawns == 1


async def test_git_operations_are_counted_and_follow_their_cap_and_their_cache(team: RestartableTeam) -> None:
    run = await team.start()
    await tune(run, maxConcurrentGitOps=1, cacheSize=7)
    reads = [{"type": "log", "workspaceDir": str(team.repository)}] * 2
    for _ in range(2):
        assert (await run.call("git_batch", parse(requests.GitBatchRequest, {"operations": reads}))).success
    seen = await performance(run)
    assert (seen.queues.git.limit, seen.queues.git.pending, seen.metrics.cache.limit) == (1, 0, 7)
    assert seen.metrics.git.total >= 1
    assert seen.metrics.git.failed == 0
    assert seen.metrics.cache.hits + seen.metrics.cache.misses >= 2


async def _stores_a_spawn(run: SupervisorRun) -> bool:
    stored = await run.store.load(keys.PERFORMANCE_PREFIX)
    return any(decode_bucket(record).timed(Timing.SPAWN).count for record in stored.values())


async def _of_the_team(events: AsyncIterator[TeamEvent]) -> TeamEvent:
    """The next that is not about what else the machine of the tests does."""
    while (event := await anext(events)).alert is not None and event.alert.category == "machine":
        pass
    return event


async def test_events_reach_a_listener_over_the_gateway_and_trouble_is_told_once(
    team: RestartableTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EVERY_S", 0.1)
    run = await team.start()
    gateway = Gateway(team.home.gateway_socket, run.supervisor)
    await gateway.start()
    try:
        async with await SupervisorClient.connect(team.home) as client, asyncio.timeout(10):
            listening = client.events("alert", "health-check")
            first = await _of_the_team(listening)
            assert (first.kind, first.health is not None) == ("health-check", True)
            run.team.unreadable.keys.append("instance/spec_0_0_9")
            while (alert := (await _of_the_team(listening)).alert) is None:
                pass
            assert "spec_0_0_9" in alert.message
            heard = [await _of_the_team(listening) for _ in range(3)]
            assert [event.kind for event in heard] == ["health-check"] * 3
    finally:
        await gateway.stop()
