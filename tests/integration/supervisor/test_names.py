"""Names in place of ids, and how instances were started, through the calls of a real supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.errors import InvalidRequestError, RefusedError, UnknownInstanceError
from supervisor.api import requests
from supervisor.api.verbs import Caller
from supervisor.team.access import new_token, token_hash
from tests.integration.supervisor.calls import settle, spawn
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun


async def calling_as(run: SupervisorRun, instance_id: str) -> Caller:
    token = new_token()
    await run.team.save(instance_id, token_hash=token_hash(token))
    return Caller(sender="?", token=token)


async def read(run: SupervisorRun, caller: Caller, instance_id: str) -> Any:
    return await run.supervisor.call("read", requests.ReadRequest(instance_id=instance_id), caller)


async def test_a_name_reaches_the_same_instance_as_its_id_also_after_a_restart_of_the_supervisor(
    make_team: Callable[[], RestartableTeam],
) -> None:
    team = make_team()
    run = await team.start_compared()
    instance_id = await spawn(run, team, name="cart")
    await settle(run, instance_id)
    with pytest.raises(InvalidRequestError, match="The name cart is taken"):
        await spawn(run, team, name="cart")
    run = await team.restart(actors_die=True)
    with pytest.raises(InvalidRequestError, match="The name cart is taken"):
        await spawn(run, team, name="cart")
    sent = await run.call("send", requests.SendRequest(instance_id="cart", message="x", wait=True))
    assert (sent.instance_id, sent.status) == (instance_id, "submitted")
    ended = await run.call("terminate", requests.TerminateRequest(instance_id="cart"))
    assert [each.instance_id for each in ended.terminated] == [instance_id]
    again = await spawn(run, team, name="cart")
    assert (await run.call("read", requests.ReadRequest(instance_id="cart"))).instance_id == again != instance_id


async def test_an_instance_learns_nothing_by_a_name_of_those_whom_it_does_not_see(
    make_team: Callable[[], RestartableTeam],
) -> None:
    team = make_team()
    run = await team.start_compared()
    asks = await spawn(run, team, role="manager", name="asks")
    below = await spawn(run, team, parentId="asks", name="below")
    other = await spawn(run, team, role="executive", name="other")
    caller = await calling_as(run, asks)
    assert (await read(run, caller, "below")).instance_id == below
    told = {}
    for name in ("other", "nobody"):
        with pytest.raises(UnknownInstanceError) as refused:
            await read(run, caller, name)
        told[name] = str(refused.value).replace(name, "NAME")
    assert told["other"] == told["nobody"]
    with pytest.raises(RefusedError):
        await read(run, caller, other)
    with pytest.raises(RefusedError, match="may not call describe"):
        await run.supervisor.call("describe", requests.DescribeRequest(), caller)
