"""Spare actors beside a supervisor that dies: each is taken once, kept or ended, and none is lost sight of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.integration.supervisor.deeds import dies, listed, spawn, terminate
from tests.integration.supervisor.lives import Life, Team, disagreements
from tests.integration.supervisor.test_crash_points import through_all_moments

SPARES: Mapping[str, Any] = {"PHALANX_SPARE_ACTORS": "2"}


async def stocked(life: Life) -> set[str]:
    """The names of the spares, once there are as many as there should be."""
    actor_pool = life.supervisor._recovery._actor_pool
    for _ in range(500):
        if len(actor_pool.ready()) == 2:
            return set(actor_pool.names)
        await asyncio.sleep(0.01)
    raise AssertionError("the stock was not filled")


async def test_a_spawn_takes_a_spare_and_another_takes_its_place(team: Team) -> None:
    life = await team.first_life(**SPARES)
    spares = await stocked(life)
    first, second = await asyncio.gather(*(spawn(life, team) for _ in range(2)))
    records = [life.supervisor._team.registry.get(one).record for one in (first, second)]
    assert {record.actor_name for record in records} == spares
    assert not await stocked(life) & spares
    assert await disagreements(team, life) == []


async def test_the_next_supervisor_keeps_the_spares_and_the_instances_their_actors(team: Team) -> None:
    life = await team.first_life(**SPARES)
    await stocked(life)
    instance_id = await spawn(life, team)
    spares, actors = await stocked(life), set(team.actors.instances)
    life = await team.next_life(**SPARES)
    assert await stocked(life) == spares
    assert set(team.actors.instances) == actors
    assert list(await listed(life)) == [instance_id]
    life = await team.next_life(PHALANX_SPARE_ACTORS="0")
    for _ in range(500):
        if not spares & set(team.actors.instances):
            break
        await asyncio.sleep(0.01)
    assert len(team.actors.instances) == 1
    await terminate(life, instance_id)
    assert not team.actors.instances


async def test_no_spare_is_lost_or_doubled_whenever_the_supervisor_dies_in_a_spawn(
    make_team: Callable[[], Team],
) -> None:
    async def play(team: Team, moment: int) -> bool:
        life = await team.first_life(**SPARES)
        await stocked(life)
        life.fate.ends_at(moment)
        died = await dies(spawn(life, team, "the task", requestId="r1"))
        calls = life.fate.calls
        life = await team.next_life(**SPARES)
        one = await spawn(life, team, "the task", requestId="r1")
        await life.compared()
        spares = await stocked(life)
        assert list(await listed(life)) == [one], calls
        used = life.supervisor._team.registry.get(one).record.actor_name
        assert set(team.actors.instances) == {used, *spares}, calls
        assert used not in spares
        return not died

    assert await through_all_moments(make_team, play) > 8
