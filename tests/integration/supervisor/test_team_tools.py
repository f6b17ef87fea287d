"""Instances call their own team: known by their tokens, through all that starts them again.

In place of the real endpoint stands one that passes each call to the supervisor of the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from actors.errors import PhalanxError, UnavailableError
from supervisor.api import requests, results
from supervisor.api.validation import parse
from supervisor.api.verbs import VERBS, Caller
from supervisor.team.access import token_hash
from tests.integration.supervisor.calls import agents, listed, send, settle, spawn, terminate, texts
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun, disagreements
from tests.integration.supervisor.test_pool import prewarm
from tests.integration.supervisor.test_recycling import recycle
from tests.standin.team_tools import Json, TeamToolsStandIn


class Tools(TeamToolsStandIn):
    """What serves the tools; also the ``Endpoint`` of the host."""

    team: RestartableTeam
    loop: asyncio.AbstractEventLoop
    error: PhalanxError | None = None
    """Why it cannot be brought up."""

    async def ensure(self) -> str:
        if self.error is not None:
            raise self.error
        return self.url

    def act(self, call: Json, token: str) -> tuple[str, bool]:
        done = asyncio.run_coroutine_threadsafe(self._call(call, token), self.loop)
        try:
            return done.result(timeout=60), False
        except PhalanxError as error:
            return str(error), True

    async def _call(self, call: Json, token: str) -> str:
        run = self.team.runs[-1]
        request = parse(VERBS[call["name"]].request, call["arguments"])
        answer = await run.supervisor.call(call["name"], request, Caller(sender="", token=token))
        return str(answer.model_dump_json(by_alias=True, exclude_defaults=True))


@pytest.fixture
def tools(team: RestartableTeam) -> Iterator[Tools]:
    with Tools() as made:
        made.team, made.loop = team, asyncio.get_event_loop()
        team.endpoint = made
        yield made


def spawning(team: RestartableTeam, role: str, *then: str) -> str:
    """The directive that starts one, whose first message is the rest."""
    asked = {"role": role, "workDir": str(team.repository), "context": "\n".join([f"be a {role}", *then])}
    return f"@@demo team spawn {json.dumps(asked)}"


async def answer_of(run: SupervisorRun, instance_id: str) -> str:
    """Its last answer."""
    await settle(run, instance_id)
    page = await run.call("read", requests.ReadRequest(instance_id=instance_id))
    return [entry.text for entry in cast("results.ReadResult", page).entries if entry.kind == "answer"][-1]


async def sees_itself(run: SupervisorRun, instance_id: str) -> bool:
    """Whether the team knows its agent."""
    await send(run, instance_id, "@@demo team list {}")
    return instance_id in (await answer_of(run, instance_id)).partition("result:")[2]


def tokens(team: RestartableTeam) -> dict[str, str]:
    """By the name of the private directory."""
    found = {}
    for file in team.home.instances.glob("*/mcp.json"):
        (server,) = json.loads(file.read_text())["mcpServers"].values()
        found[file.parent.name] = server["headers"]["Authorization"].removeprefix("Bearer ")
    return found


async def test_an_executive_starts_a_manager_who_starts_a_specialist_each_under_itself(
    team: RestartableTeam, tools: Tools
) -> None:
    run = await team.start_compared()
    line = spawning(team, "manager", spawning(team, "specialist", spawning(team, "specialist")))
    first = await spawn(run, team, line, role="executive")
    await run.team.changes.until(lambda: len(list(run.team.registry)) == 3, 30.0)
    for one in ("exec_1", "mgr_1_2", "spec_1_2_3"):
        await settle(run, one)

    assert first == "exec_1"
    assert [(each.instance_id, each.parent_id) for each in (await listed(run)).values()] == [
        ("exec_1", None),
        ("mgr_1_2", "exec_1"),
        ("spec_1_2_3", "mgr_1_2"),
    ]
    assert "You are spec_1_2_3, a specialist, and may not call spawn" in await answer_of(run, "spec_1_2_3")
    await send(run, "spec_1_2_3", '@@demo team send {"instanceId": "mgr_1_2", "message": "the result"}')
    await settle(run, "spec_1_2_3")
    await run.team.changes.until(lambda: "the result" in texts(team, "mgr_1_2"), 20.0)
    assert await disagreements(team, run) == []


async def test_an_instance_keeps_its_token_through_restart_recycling_a_killed_agent_and_a_new_supervisor(
    team: RestartableTeam, tools: Tools
) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "the task")
    (token,) = tokens(team).values()

    await run.call("restart", requests.RestartRequest(instance_id=instance_id))
    assert await sees_itself(run, instance_id)
    await settle(run, instance_id)
    await recycle(run, instance_id)
    assert await sees_itself(run, instance_id)
    run = await team.restart(actors_die=True)
    await settle(run, instance_id)
    assert await sees_itself(run, instance_id)

    assert tokens(team) == {instance_id: token}
    assert run.team.registry.get(instance_id).record.token_hash == token_hash(token)
    await terminate(run, instance_id)
    with pytest.raises(PhalanxError, match="no living instance"):
        await run.supervisor.call("list", requests.ListRequest(), Caller(sender="", token=token))


async def test_who_was_a_spare_calls_with_the_token_of_the_spare_which_alone_may_do_nothing(
    team: RestartableTeam, tools: Tools
) -> None:
    run = await team.start_compared()
    await prewarm(run, team, 1, role="executive")
    ((place, token),) = tokens(team).items()
    with pytest.raises(PhalanxError, match="spare"):
        await run.supervisor.call("list", requests.ListRequest(), Caller(sender="", token=token))

    instance_id = await spawn(run, team, spawning(team, "manager"), role="executive")
    await settle(run, instance_id)

    record = run.team.registry.get(instance_id).record
    assert (record.spare, record.token_hash) == (place, token_hash(token))
    assert [each.parent_id for each in (await listed(run)).values()] == [None, instance_id]
    await run.call("restart", requests.RestartRequest(instance_id=instance_id))
    assert await sees_itself(run, instance_id)
    assert tokens(team)[place] == token


async def test_a_call_whose_answer_is_lost_is_made_again_as_the_same_call(team: RestartableTeam, tools: Tools) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "hello")
    await settle(run, instance_id)
    tools.drops = 2
    assert await sees_itself(run, instance_id)
    assert len(tools.calls) == 3
    assert len({call["_meta"]["claudecode/toolUseId"] for call in tools.calls}) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["port known", "never up"])
async def test_an_endpoint_that_cannot_be_brought_up_keeps_no_instance_from_its_work(
    team: RestartableTeam, tools: Tools, kept: bool
) -> None:
    if kept:
        team.home.web_file.write_text(json.dumps({"port": tools.port}))
    tools.error = UnavailableError("it does not start")
    run = await team.start_compared()
    instance_id = await spawn(run, team, "hello")
    await settle(run, instance_id)
    if kept:  # it answers again, at the same port
        assert await sees_itself(run, instance_id)
    else:
        tools.error = None
        await run.call("restart", requests.RestartRequest(instance_id=instance_id))
        assert await sees_itself(run, instance_id)


async def test_the_environment_of_an_agent_and_the_state_of_the_team_hold_no_token(
    team: RestartableTeam, tools: Tools
) -> None:
    run = await team.start_compared()
    instance_id = await spawn(run, team, "hello")
    await settle(run, instance_id)
    (token,) = tokens(team).values()
    pid = agents(team)[instance_id].pid

    assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    holding = [path for path in team.home.root.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert {path.name: path.stat().st_mode & 0o777 for path in holding} == {
        "mcp.json": 0o600,
        "launch-request.json": 0o600,
    }
