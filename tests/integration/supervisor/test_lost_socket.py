"""Somebody removes the socket of the team's tmux server: agents and messages do not notice for long."""

from __future__ import annotations

from actors.messages import MessageStatus
from tests.integration.supervisor.calls import agents, receipt_of, send, settle, spawn, texts
from tests.integration.supervisor.runs import RestartableTeam, disagreements


async def test_agents_live_on_and_what_is_sent_meanwhile_arrives_once_when_the_next_look_has_the_socket_back(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    first = await spawn(run, team)
    await settle(run, first)
    before = agents(team)
    team.home.tmux_socket.unlink()
    (sent,) = await send(run, first, "while it is away")
    assert await run.recovery.reconcile()
    await settle(run, first)
    assert receipt_of(run, sent).status is MessageStatus.SUBMITTED
    assert texts(team, first) == ["hello", "while it is away"]
    assert agents(team) == before
    assert await disagreements(team, run) == []


async def test_a_supervisor_and_actors_that_come_back_meanwhile_adopt_the_agents_all_the_same(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    first = await spawn(run, team)
    await settle(run, first)
    before = agents(team)
    await run.kill()
    await team.actors.die()
    team.home.tmux_socket.unlink()
    run = await team.start_compared()
    (sent,) = await send(run, first, "afterwards")
    await settle(run, first)
    assert receipt_of(run, sent).status is MessageStatus.SUBMITTED
    assert agents(team) == before
    assert await disagreements(team, run) == []
