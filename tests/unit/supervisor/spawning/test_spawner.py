from __future__ import annotations

import asyncio

from supervisor.team.registry import InstanceStage
from tests.fakes.supervisor import CAP, Machine, SupervisorRun


async def test_a_spawn_whose_caller_went_away_counts_under_the_cap_until_it_is_done() -> None:
    async def callers_come_and_go() -> tuple[list[int], int]:
        run = SupervisorRun(Machine(), {})
        await run.begin()
        started = []
        for batch in range(3):
            calls = [asyncio.create_task(run.spawn(f"r{batch}{number}")) for number in range(CAP)]
            await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            started.append(sum(member.record.stage is InstanceStage.STARTING for member in run.team.registry))
        last = await run.spawn("last")
        ended = sum(member.record.stage is InstanceStage.RUNNING for member in run.team.registry)
        await run.kill()
        assert last.stage is InstanceStage.RUNNING
        return started, ended

    started, ended = await callers_come_and_go()
    assert started == [CAP, CAP, CAP], "as many as the cap allows, however often a call is cut off and repeated"
    assert ended == CAP + 1, "who went away while waiting for a turn has made nothing"


async def test_what_is_under_way_when_the_team_ends_is_undone_and_its_callers_learn_why() -> None:
    async def the_team_ends() -> tuple[list[str], list[str], int]:
        machine = Machine()
        run = SupervisorRun(machine, {})
        await run.begin()
        calls = [asyncio.create_task(run.spawn(f"r{number}")) for number in range(2 * CAP)]
        while not machine.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        run.permits.close("it ends")
        await run.spawner.end("it ends")
        told = await asyncio.gather(*calls, return_exceptions=True)
        left = [name for name, agent in machine.sessions.items() if agent.alive]
        there = len(list(run.team.registry.everyone()))
        await run.kill()
        return [str(each) for each in told], left, there

    told, left, there = await the_team_ends()
    assert told == ["it ends"] * 2 * CAP
    assert (left, there) == ([], 0)


async def test_the_undoing_of_a_spawn_goes_to_its_end_however_often_the_team_is_told_to_end() -> None:
    async def the_team_ends_twice() -> tuple[list[str], int]:
        machine = Machine()
        run = SupervisorRun(machine, {})
        await run.begin()
        call = asyncio.create_task(run.spawn("r"))
        while not machine.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        run.permits.close("it ends")
        first = asyncio.create_task(run.spawner.end("it ends"))
        await asyncio.sleep(0.001)
        await run.spawner.end("it ends")
        await asyncio.gather(first, call, return_exceptions=True)
        left = [name for name, agent in machine.sessions.items() if agent.alive]
        there = len(list(run.team.registry.everyone()))
        await run.kill()
        return left, there

    assert await the_team_ends_twice() == ([], 0)
