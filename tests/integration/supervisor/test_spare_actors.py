"""Spare actors beside a supervisor that dies: each is taken once, kept or ended, and none is lost sight of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.integration.supervisor.calls import is_killed, listed, spawn, terminate
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements
from tests.integration.supervisor.test_crash_points import through_all_moments

SPARES: Mapping[str, Any] = {"PHALANX_SPARE_ACTORS": "2"}


async def stocked(run: SupervisorRun) -> set[str]:
    """The names of the spares, once there are as many as there should be."""
    actor_pool = run.actor_pool
    for _ in range(500):
        if len(actor_pool.ready()) == 2:
            return set(actor_pool.names)
        await asyncio.sleep(0.01)
    raise AssertionError("the stock was not filled")


async def test_a_spawn_takes_a_spare_and_another_takes_its_place(team: RestartableTeam) -> None:
    run = await team.start_compared(**SPARES)
    spares = await stocked(run)
    first, second = await asyncio.gather(*(spawn(run, team) for _ in range(2)))
    records = [run.team.registry.get(one).record for one in (first, second)]
    assert {record.actor_name for record in records} == spares
    assert not await stocked(run) & spares
    assert await disagreements(team, run) == []


async def test_the_next_supervisor_keeps_the_spares_and_the_instances_their_actors(team: RestartableTeam) -> None:
    run = await team.start_compared(**SPARES)
    await stocked(run)
    instance_id = await spawn(run, team)
    spares, actors = await stocked(run), set(team.actors.instances)
    run = await team.restart(**SPARES)
    assert await stocked(run) == spares
    assert set(team.actors.instances) == actors
    assert list(await listed(run)) == [instance_id]
    run = await team.restart(PHALANX_SPARE_ACTORS="0")
    for _ in range(500):
        if not spares & set(team.actors.instances):
            break
        await asyncio.sleep(0.01)
    assert len(team.actors.instances) == 1
    await terminate(run, instance_id)
    assert not team.actors.instances


async def test_no_spare_is_lost_or_doubled_whenever_the_supervisor_dies_in_a_spawn(
    make_team: Callable[[], RestartableTeam],
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared(**SPARES)
        await stocked(run)
        run.kill_switch.kill_at(moment)
        died = await is_killed(spawn(run, team, "the task", requestId="r1"))
        calls = run.kill_switch.calls
        run = await team.restart(**SPARES)
        one = await spawn(run, team, "the task", requestId="r1")
        await run.compared()
        spares = await stocked(run)
        assert list(await listed(run)) == [one], calls
        used = run.team.registry.get(one).record.actor_name
        assert set(team.actors.instances) == {used, *spares}, calls
        assert used not in spares
        return not died

    assert await through_all_moments(make_team, play) > 8
