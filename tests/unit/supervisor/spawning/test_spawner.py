from __future__ import annotations

import asyncio

from supervisor.team.registry import InstanceStage
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.life import Life
from tests.unit.supervisor.world import World

CAP = 3
"""That of a ``AgentSession``."""


def test_a_spawn_whose_caller_went_away_counts_under_the_cap_until_it_is_done() -> None:
    async def callers_come_and_go() -> tuple[list[int], int]:
        life = Life(World(), {})
        await life.begin()
        started = []
        for batch in range(3):
            calls = [asyncio.create_task(life.spawn(f"r{batch}{number}")) for number in range(CAP)]
            await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            started.append(sum(member.record.stage is InstanceStage.STARTING for member in life.team.registry))
        last = await life.spawn("last")
        ended = sum(member.record.stage is InstanceStage.RUNNING for member in life.team.registry)
        await life.kill()
        assert last.stage is InstanceStage.RUNNING
        return started, ended

    started, ended = virtual_time.run(callers_come_and_go)
    assert started == [CAP, CAP, CAP], "as many as the cap allows, however often a call is cut off and repeated"
    assert ended == CAP + 1, "who went away while waiting for a turn has made nothing"


def test_what_is_under_way_when_the_team_ends_is_undone_and_its_callers_learn_why() -> None:
    async def the_team_ends() -> tuple[list[str], list[str], int]:
        world = World()
        life = Life(world, {})
        await life.begin()
        calls = [asyncio.create_task(life.spawn(f"r{number}")) for number in range(2 * CAP)]
        while not world.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        life.permits.close("it ends")
        await life.spawner.end("it ends")
        told = await asyncio.gather(*calls, return_exceptions=True)
        left = [name for name, agent in world.sessions.items() if agent.alive]
        there = len(list(life.team.registry.everyone()))
        await life.kill()
        return [str(each) for each in told], left, there

    told, left, there = virtual_time.run(the_team_ends)
    assert told == ["it ends"] * 2 * CAP
    assert (left, there) == ([], 0)


def test_the_undoing_of_a_spawn_goes_to_its_end_however_often_the_team_is_told_to_end() -> None:
    async def the_team_ends_twice() -> tuple[list[str], int]:
        world = World()
        life = Life(world, {})
        await life.begin()
        call = asyncio.create_task(life.spawn("r"))
        while not world.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        life.permits.close("it ends")
        first = asyncio.create_task(life.spawner.end("it ends"))
        await asyncio.sleep(0.001)
        await life.spawner.end("it ends")
        await asyncio.gather(first, call, return_exceptions=True)
        left = [name for name, agent in world.sessions.items() if agent.alive]
        there = len(list(life.team.registry.everyone()))
        await life.kill()
        return left, there

    assert virtual_time.run(the_team_ends_twice) == ([], 0)
