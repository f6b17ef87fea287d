"""Somebody removes the socket of the team's tmux server: agents and messages do not notice for long."""

from __future__ import annotations

from actors.messages import MessageStatus
from tests.integration.supervisor.deeds import agents, receipt_of, send, settle, spawn, texts
from tests.integration.supervisor.lives import Team, disagreements


async def test_agents_live_on_and_what_is_sent_meanwhile_arrives_once_when_the_next_look_has_the_socket_back(
    team: Team,
) -> None:
    life = await team.first_life()
    first = await spawn(life, team)
    await settle(life, first)
    before = agents(team)
    team.home.tmux_socket.unlink()
    (sent,) = await send(life, first, "while it is away")
    assert await life.supervisor._recovery.reconcile()
    await settle(life, first)
    assert receipt_of(life, sent).status is MessageStatus.SUBMITTED
    assert texts(team, first) == ["hello", "while it is away"]
    assert agents(team) == before
    assert await disagreements(team, life) == []


async def test_a_supervisor_and_actors_that_come_back_meanwhile_adopt_the_agents_all_the_same(team: Team) -> None:
    life = await team.first_life()
    first = await spawn(life, team)
    await settle(life, first)
    before = agents(team)
    await life.kill()
    await team.actors.die()
    team.home.tmux_socket.unlink()
    life = await team.first_life()
    (sent,) = await send(life, first, "afterwards")
    await settle(life, first)
    assert receipt_of(life, sent).status is MessageStatus.SUBMITTED
    assert agents(team) == before
    assert await disagreements(team, life) == []
