"""Agents that fail are brought back by themselves, if the settings say so."""

from __future__ import annotations

from actors.status import Status
from supervisor.api import requests
from supervisor.settings import Settings
from tests.integration.supervisor.calls import (
    BUSY,
    agents,
    gone,
    kill_agent,
    listed,
    send,
    settle,
    spawn,
    terminate,
    texts,
    until,
)
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements

RESUME = {"PHALANX_ON_AGENT_FAILURE": "resume", "PHALANX_RESUME_LIMIT": "2"}


async def fails(run: SupervisorRun, team: RestartableTeam, instance_id: str) -> None:
    kill_agent(team, instance_id)
    await until(run, instance_id, Status.FAILED)


async def test_it_comes_back_with_its_conversation_and_its_messages_until_the_limit(team: RestartableTeam) -> None:
    run = await team.start_compared(**RESUME)
    first = await spawn(run, team, BUSY)
    await send(run, first, "one", "two")
    await fails(run, team, first)
    await until(run, first, Status.READY, Status.BUSY)
    await settle(run, first)
    assert texts(team, first) == [BUSY, "one", "two"]
    assert await disagreements(team, run) == []
    await fails(run, team, first)
    await until(run, first, Status.READY)
    await fails(run, team, first)
    assert not await run.team.changes.until(lambda: run.team.registry.get(first).alive, 2.5)
    info = (await listed(run))[first]
    assert info.status is Status.FAILED
    assert f"2 times in a row, which is the limit. See why it ends, then restart {first}" in (info.reason or "")
    await run.call("restart", requests.RestartRequest(instance_id=first))
    await fails(run, team, first)
    await until(run, first, Status.READY)
    assert await disagreements(team, run) == []


async def test_who_failed_just_before_or_while_the_supervisor_was_away_is_brought_back_too(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared(**RESUME)
    before, meanwhile, stopped = [await spawn(run, team) for _ in range(3)]
    await settle(run, before, meanwhile, stopped)
    await fails(run, team, before)
    await run.kill()
    kill_agent(team, meanwhile)
    await gone(team, meanwhile)
    run = await team.restart(actors_die=True, compared=True, **RESUME)
    await terminate(run, stopped)
    for one in (before, meanwhile):
        await until(run, one, Status.READY)
    assert {one for one, agent in agents(team).items() if agent.alive} == {before, meanwhile}
    assert await disagreements(team, run) == []


async def test_by_default_it_stays_failed(team: RestartableTeam, settings: Settings) -> None:
    assert settings.on_agent_failure == "report"
    run = await team.start_compared()
    first = await spawn(run, team)
    await settle(run, first)
    await fails(run, team, first)
    assert not await run.team.changes.until(lambda: run.team.registry.get(first).alive, 1)
