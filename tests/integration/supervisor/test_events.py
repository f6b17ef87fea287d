"""The events of real demo agents: over the gateway, and with a supervisor that dies at any of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest

from actors.status import Status
from supervisor.api import requests
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.team.queries import LASTS_S
from tests.integration.supervisor import calls
from tests.integration.supervisor.calls import PATIENCE_S, is_killed
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun
from tests.integration.supervisor.test_crash_points import both, through_all_moments


async def events_of(run: SupervisorRun, *kinds: EventKind) -> list[TeamEvent]:
    """So far; what has just happened may come a moment later."""
    return (await run.team.events.after("0", lambda event: not kinds or event.kind in kinds, 0.01)).events


async def told(run: SupervisorRun, count: int, *kinds: EventKind) -> list[TeamEvent]:
    """Waits for so many, and a moment longer for one too many."""
    heard: list[TeamEvent] = []
    cursor = "0"
    async with asyncio.timeout(PATIENCE_S):
        while len(heard) < count:
            answer = await run.team.events.after(cursor, lambda event: event.kind in kinds, PATIENCE_S)
            heard, cursor = [*heard, *answer.events], answer.cursor
    await asyncio.sleep(0.2)
    return await events_of(run, *kinds)


async def test_the_life_of_an_instance_is_told_in_order_and_each_thing_once(team: RestartableTeam) -> None:
    run = await team.start()
    instance_id = await calls.spawn(run, team, "hello", name="builder")
    (first,) = await told(run, 1, "became_idle")
    assert (first.instance_id, first.name) == (instance_id, "builder")
    assert first.text

    (asked,) = await calls.send(run, instance_id, '@@demo dialog Bash {"command": "rm -r build"}')
    (question,) = await told(run, 1, "needs_attention")
    assert question.text == 'asks to use Bash: {"command": "rm -r build"}'
    answer = requests.RespondRequest(instance_id=instance_id, decision="allow", permission_id=question.permission_id)
    await run.call("respond", answer)
    await told(run, 2, "became_idle")

    calls.kill_agent(team, instance_id)
    await calls.until(run, instance_id, Status.FAILED)
    await told(run, 1, "failed")
    everything = await events_of(run)
    assert [event.kind for event in everything] == [
        "became_idle",
        "message_final",
        "needs_attention",
        "became_idle",
        "failed",
    ]
    assert [event.number for event in everything] == [1, 2, 3, 4, 5]
    assert (everything[1].message_id, everything[1].sender) == (asked.message_id, "lead")


async def test_a_question_is_not_told_again_after_its_actor_or_the_supervisor_has_died(team: RestartableTeam) -> None:
    run = await team.start()
    await calls.spawn(run, team, '@@demo dialog Bash {"command": "ls"}')
    await told(run, 1, "needs_attention")
    for actors_die in (False, True):
        run = await team.restart(actors_die=actors_die)
        await asyncio.sleep(LASTS_S + 1)
        assert len(await events_of(run, "needs_attention")) == 1


@both
async def test_a_supervisor_that_dies_at_any_moment_loses_no_event_and_doubles_none(
    make_team: Callable[[], RestartableTeam], actors_die: bool
) -> None:
    async def play(team: RestartableTeam, moment: int) -> bool:
        run = await team.start_compared()
        instance_id = await calls.spawn(run, team)
        await told(run, 1, "became_idle")
        run.kill_switch.kill_at(moment)
        died = await is_killed(_a_turn(run, instance_id))
        killed_at = run.kill_switch.calls
        run = await team.restart(actors_die=actors_die)
        (sent,) = await calls.send(run, instance_id, "one", request_id="r1")
        await calls.settle(run, instance_id)
        idle = await told(run, 2, "became_idle")
        assert len(idle) == 2, killed_at
        settled = await told(run, 1, "message_final")
        assert [event.message_id for event in settled] == [sent.message_id], killed_at
        everything = await events_of(run)
        assert [event.number for event in everything] == list(range(1, len(everything) + 1)), killed_at
        return not died

    assert await through_all_moments(make_team, play) > 4


async def _a_turn(run: SupervisorRun, instance_id: str) -> None:
    """A message, its turn, and all that is told of them."""
    await calls.send(run, instance_id, "one", request_id="r1")
    await calls.settle(run, instance_id)
    for cursor in ("0", "1"):  # the first of its two turns is event 1
        asked = requests.EventsRequest(cursor=cursor, kinds=["became_idle"], timeout_seconds=PATIENCE_S)
        await run.call("events", asked)


async def listening(
    team: RestartableTeam, play: Callable[[SupervisorRun, SupervisorClient], Coroutine[None, None, None]]
) -> None:
    run = await team.start()
    gateway = Gateway(team.home.gateway_socket, run.supervisor)
    await gateway.start()
    try:
        async with await SupervisorClient.connect(team.home) as client, asyncio.timeout(PATIENCE_S):
            await play(run, client)
    finally:
        await gateway.stop()


async def test_a_client_hears_what_it_asked_for_from_its_cursor_on(team: RestartableTeam) -> None:
    async def play(run: SupervisorRun, client: SupervisorClient) -> None:
        one, other = await asyncio.gather(calls.spawn(run, team), calls.spawn(run, team))
        await told(run, 2, "became_idle")
        heard: list[TeamEvent] = []
        async for event in client.events(cursor="0", instance_ids=[other]):
            heard.append(event)
            break
        assert [(event.kind, event.instance_id) for event in heard] == [("became_idle", other)]
        later = client.events("message_final", cursor=str(heard[-1].number))
        (sent,) = await calls.send(run, one, "go on")
        assert (await anext(later)).message_id == sent.message_id

    await listening(team, play)


async def test_who_listens_from_now_on_misses_nothing_that_comes_after_its_call(team: RestartableTeam) -> None:
    async def play(run: SupervisorRun, client: SupervisorClient) -> None:
        heard = client.events("became_idle", poll_s=0.05)
        first = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(0.3)  # several asks without an answer
        instance_id = await calls.spawn(run, team)
        assert (await first).instance_id == instance_id

    await listening(team, play)


def contiguous(numbers: Sequence[int]) -> bool:
    return list(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.timeout(120)
async def test_ten_that_become_idle_at_once_are_each_told_once(team: RestartableTeam) -> None:
    run = await team.start()
    ids = await asyncio.gather(*(calls.spawn(run, team, "@@demo busy 1") for _ in range(10)))
    idle = await told(run, 10, "became_idle")
    assert sorted(event.instance_id or "" for event in idle) == sorted(ids)
    assert contiguous([event.number for event in await events_of(run)])
