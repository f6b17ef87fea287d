"""Agents that fail are brought back by themselves, if the settings say so."""

from __future__ import annotations

from actors.status import Status
from supervisor.api import requests
from supervisor.settings import Settings
from tests.integration.supervisor.deeds import (
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
from tests.integration.supervisor.lives import Life, Team, disagreements

RESUME = {"PHALANX_ON_AGENT_FAILURE": "resume", "PHALANX_RESUME_LIMIT": "2"}


async def fails(life: Life, team: Team, instance_id: str) -> None:
    kill_agent(team, instance_id)
    await until(life, instance_id, Status.FAILED)


async def test_it_comes_back_with_its_conversation_and_its_messages_until_the_limit(team: Team) -> None:
    life = await team.first_life(**RESUME)
    first = await spawn(life, team, BUSY)
    await send(life, first, "one", "two")
    await fails(life, team, first)
    await until(life, first, Status.READY, Status.BUSY)
    await settle(life, first)
    assert texts(team, first) == [BUSY, "one", "two"]
    assert await disagreements(team, life) == []
    await fails(life, team, first)
    await until(life, first, Status.READY)
    await fails(life, team, first)
    assert not await life.supervisor._team.changes.until(lambda: life.supervisor._team.registry.get(first).alive, 2.5)
    info = (await listed(life))[first]
    assert info.status is Status.FAILED
    assert f"2 times in a row, which is the limit. See why it ends, then restart {first}" in (info.reason or "")
    await life.call("restart", requests.RestartRequest(instance_id=first))
    await fails(life, team, first)
    await until(life, first, Status.READY)
    assert await disagreements(team, life) == []


async def test_who_failed_just_before_or_while_the_supervisor_was_away_is_brought_back_too(team: Team) -> None:
    life = await team.first_life(**RESUME)
    before, meanwhile, stopped = [await spawn(life, team) for _ in range(3)]
    await settle(life, before, meanwhile, stopped)
    await fails(life, team, before)
    await life.kill()
    kill_agent(team, meanwhile)
    await gone(team, meanwhile)
    life = await team.next_life(actors_die=True, compared=True, **RESUME)
    await terminate(life, stopped)
    for one in (before, meanwhile):
        await until(life, one, Status.READY)
    assert {one for one, agent in agents(team).items() if agent.alive} == {before, meanwhile}
    assert await disagreements(team, life) == []


async def test_by_default_it_stays_failed(team: Team, settings: Settings) -> None:
    assert settings.on_agent_failure == "report"
    life = await team.first_life()
    first = await spawn(life, team)
    await settle(life, first)
    await fails(life, team, first)
    assert not await life.supervisor._team.changes.until(lambda: life.supervisor._team.registry.get(first).alive, 1)
