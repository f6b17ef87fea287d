"""Limits over real demo agents, while supervisor and actors are killed: what is held stays held, and goes on once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from actors.errors import InvalidRequestError, RefusedError, UnavailableError
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api import requests, results
from supervisor.team.rate_limits import GO_ON
from tests.integration.supervisor.calls import PATIENCE_S, listed, receipt_of, send, settle, spawn, texts, until
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun

LIMIT = 1000


async def hear(run: SupervisorRun, satisfied: Callable[[], bool]) -> None:
    assert await run.team.changes.until(satisfied, PATIENCE_S)


async def is_held(run: SupervisorRun, sent: results.SendResult, words: str) -> None:
    await hear(run, lambda: receipt_of(run, sent).status is MessageStatus.BLOCKED)
    assert words in receipt_of(run, sent).reason


async def raise_to(run: SupervisorRun, instance_id: str, tokens: int) -> None:
    request = requests.LimitRequest(instance_id=instance_id, limits=requests.Limits(tokens=tokens))
    await run.call("limit", request)


async def test_a_used_up_limit_holds_messages_through_every_kill_until_it_is_raised(team: RestartableTeam) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, f"@@demo tokens {LIMIT}\nfirst", limits={"tokens": LIMIT})
    await settle(run, instance_id)
    await hear(run, lambda: bool(run.team.registry.get(instance_id).hold))
    (sent,) = await send(run, instance_id, "second")
    await is_held(run, sent, f"its token limit of {LIMIT} is used up")
    for actors_die in (False, True):
        run = await team.restart(actors_die)
        await is_held(run, sent, "is used up")
        info = (await listed(run))[instance_id]
        assert (info.tokens.limit, info.tokens.counted) == (LIMIT, LIMIT + 5)
        assert info.needs_attention
    with pytest.raises(RefusedError, match="Nothing is started below"):
        await spawn(run, team, parentId=instance_id, role="specialist")
    assert texts(team, instance_id)[-1] == "first"
    await raise_to(run, instance_id, 2 * LIMIT)
    await hear(run, lambda: receipt_of(run, sent).status is MessageStatus.SUBMITTED)
    await settle(run, instance_id)
    assert texts(team, instance_id)[-1] == "second"


async def test_the_count_goes_on_through_restart_recycle_and_the_end_of_one_below(team: RestartableTeam) -> None:
    run = await team.start_compared()
    lead = await spawn(run, team, "lead", role="manager", limits={"tokens": 10_000})
    below = await spawn(run, team, "@@demo tokens 500\nwork", parentId=lead)
    await settle(run, lead, below)
    await run.call("restart", requests.RestartRequest(instance_id=below))
    await run.call("recycle", requests.RecycleRequest(instance_id=below))
    await settle(run, below)
    before = run.team.registry.get(lead).total
    assert before >= 15 + 505 + 15
    await send(run, below, "@@demo tokens 300\nmore")
    await settle(run, below)
    await hear(run, lambda: run.team.registry.get(lead).total >= before + 300)
    run = await team.restart(actors_die=True)
    await hear(run, lambda: run.team.registry.get(lead).total >= before + 300)
    used = run.team.registry.get(lead).total
    assert used < before + 400
    await run.call("terminate", requests.TerminateRequest(instance_id=below))
    run = await team.restart(actors_die=True)
    assert run.team.registry.get(lead).total >= used
    assert (await listed(run))[lead].tokens.counted == run.team.registry.get(lead).total


async def test_a_turn_that_failed_at_a_limit_goes_on_once_when_that_ends_whoever_is_killed(
    team: RestartableTeam,
) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "first")
    await settle(run, instance_id)
    resets_at = int(time.time()) + 6
    await send(run, instance_id, f"@@demo fail rate_limit Claude AI usage limit reached|{resets_at}\ntask")
    await until(run, instance_id, Status.RATE_LIMITED)
    (sent,) = await send(run, instance_id, "second")
    await is_held(run, sent, "resets at")
    with pytest.raises(UnavailableError, match="resets at"):
        await asyncio.wait_for(spawn_patiently(run, team, 1.0), 5.0)
    run = await team.restart(actors_die=True)
    await is_held(run, sent, "resets at")
    assert time.time() < resets_at, "the machine is too slow for this test"
    await hear(run, lambda: receipt_of(run, sent).status is MessageStatus.SUBMITTED)
    assert time.time() >= resets_at
    await settle(run, instance_id)
    run = await team.restart(actors_die=True)
    await settle(run, instance_id)
    said = texts(team, instance_id)
    assert said.count(GO_ON) == 1
    assert said.index(GO_ON) < said.index("second")


async def spawn_patiently(run: SupervisorRun, team: RestartableTeam, timeout_s: float) -> str:
    """A spawn that waits only so long for the account."""
    run.supervisor._spawner._timeout_s = timeout_s
    return await spawn(run, team)


async def test_a_spawn_for_the_account_waits_and_one_with_another_does_not(team: RestartableTeam) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "first")
    await settle(run, instance_id)
    resets_at = int(time.time()) + 5
    await send(run, instance_id, f"@@demo fail rate_limit Claude AI usage limit reached|{resets_at}")
    await until(run, instance_id, Status.RATE_LIMITED)
    await spawn(run, team, env={"ANTHROPIC_API_KEY": "another"})
    assert time.time() < resets_at, "the machine is too slow for this test"
    await spawn(run, team)
    assert time.time() >= resets_at


@pytest.mark.parametrize("verb", ["spawn", "prewarm_resources"])
async def test_no_verb_starts_an_agent_that_asks_for_nothing_where_that_is_not_allowed(
    team: RestartableTeam, verb: str
) -> None:
    run = await team.start_compared()
    asked: dict[str, requests.Request] = {
        "spawn": requests.SpawnRequest(
            role=requests.Role.SPECIALIST,
            work_dir=str(team.repository),
            context="x",
            permission_mode="bypassPermissions",
        ),
        "prewarm_resources": requests.PrewarmRequest(
            instances=1, work_dir=str(team.repository), permission_mode="bypassPermissions"
        ),
    }
    with pytest.raises(InvalidRequestError, match="allow_bypass_permissions"):
        await run.call(verb, asked[verb])
    assert not list(run.team.registry.everyone())
