"""The endpoint as an instance sees it: which tools it is shown, in whose name it calls, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from actors.errors import RefusedError, UnavailableError
from actors.host.endpoint import PATH
from mcp_entry import sizes
from mcp_entry.web import app, bodies
from mcp_entry.web.tools import described
from supervisor.api import requests, results
from supervisor.api.requests import Role
from supervisor.api.verbs import ProgressCallback
from supervisor.team.access import MAY_CALL
from tests.fakes.gateway import ARGUMENTS, sent
from tests.fakes.web import TOKENS, ask, bearer, call, endpoint, team
from tests.unit.mcp_entry.test_server import BreakingClient

SEND: dict[str, Any] = {"instanceId": "mgr_1", "message": "It is done."}
TOOL_USE = {"claudecode/toolUseId": "toolu_1"}
BUDGET = {Role.EXECUTIVE: 2400, Role.MANAGER: 2400, Role.SPECIALIST: 450}
INITIALIZE: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


@pytest.mark.parametrize("role", Role)
async def test_each_role_is_shown_only_the_tools_that_it_may_call_and_pays_little_for_them(role: Role) -> None:
    async with endpoint(team()) as client:
        listed = (await ask(client, TOKENS[role], "tools/list")).json()["result"]["tools"]
    assert {tool["name"] for tool in listed} == MAY_CALL[role] & ARGUMENTS.keys()
    assert not any("outputSchema" in tool for tool in listed)
    cost = len(json.dumps(listed, ensure_ascii=False, separators=(",", ":"))) / sizes.CHARACTERS_A_TOKEN
    assert cost < BUDGET[role]


@pytest.mark.parametrize("role", Role)
def test_no_tool_takes_an_argument_that_only_the_user_may_give(role: Role) -> None:
    shown = json.dumps([tool.input_schema for tool in described(role)])
    assert "requestId" not in shown
    assert '"env"' not in shown


async def test_it_speaks_both_eras_of_the_protocol() -> None:
    async with endpoint(team()) as client:
        old = await ask(client, TOKENS[Role.MANAGER], "initialize", **INITIALIZE)
        client.headers["MCP-Protocol-Version"] = "2026-07-28"
        new = await client.post(
            PATH,
            headers={**bearer(TOKENS[Role.MANAGER]), "Mcp-Method": "tools/list"},
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/list",
                "params": {
                    "_meta": {
                        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                        "io.modelcontextprotocol/clientCapabilities": {},
                    }
                },
            },
        )
    assert old.json()["result"]["serverInfo"]["name"] == "phalanx-team"
    assert new.status_code == 200, new.text
    assert len(new.json()["result"]["tools"]) > 10


async def test_a_call_is_made_in_the_name_of_the_instance_whose_token_came_with_it() -> None:
    async with endpoint(fake := team()) as client:
        result = await call(client, Role.SPECIALIST, "send", **SEND)
    assert not result.get("isError")
    asked = dict(zip([name for name, _ in fake.asked], fake.tokens, strict=True))
    assert asked == {"identify": None, "send": TOKENS[Role.SPECIALIST]}


async def test_a_tool_that_the_role_does_not_have_is_refused_before_anybody_is_asked() -> None:
    async with endpoint(fake := team()) as client:
        answer = await ask(client, TOKENS[Role.SPECIALIST], "tools/call", name="spawn", arguments=ARGUMENTS["spawn"])
    assert "There is no tool 'spawn'. Tools: send, read, list, git_batch." in answer.json()["error"]["message"]
    assert [name for name, _ in fake.asked] == ["identify"]


async def test_what_the_team_refuses_is_told_in_its_words() -> None:
    async with endpoint(team(send=RefusedError("You are spec_1, a specialist. Tell mgr_1 what you need."))) as client:
        result = await call(client, Role.SPECIALIST, "send", **SEND)
    assert result["isError"]
    assert result["content"][0]["text"] == "You are spec_1, a specialist. Tell mgr_1 what you need."


async def test_the_same_use_of_a_tool_is_the_same_request_and_any_other_is_not() -> None:
    fake = team()
    async with endpoint(fake) as client:
        for role, meta, message in (
            (Role.SPECIALIST, TOOL_USE, "one"),
            (Role.SPECIALIST, TOOL_USE, "one"),
            (Role.SPECIALIST, TOOL_USE, "other"),
            (Role.SPECIALIST, {"claudecode/toolUseId": "toolu_2"}, "one"),
            (Role.MANAGER, TOOL_USE, "one"),
            (Role.SPECIALIST, {}, "one"),
            (Role.SPECIALIST, {}, "one"),
        ):
            await call(client, role, "send", meta=meta, instanceId="mgr_1", message=message)
    ids = [request.request_id for _, request in fake.asked if isinstance(request, requests.SendRequest)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(ids) - 1
    assert all(ids)


async def test_a_call_whose_connection_to_the_team_broke_three_times_is_made_again_as_the_same_request() -> None:
    fake = BreakingClient(breaks=0)
    fake.replies["identify"] = results.IdentifyResult(instance_id="spec_1", role=Role.SPECIALIST)
    async with endpoint(fake) as client:
        await ask(client, TOKENS[Role.SPECIALIST], "tools/list")
        fake.breaks = 3
        result = await call(client, Role.SPECIALIST, "send", **SEND)
    assert not result.get("isError")
    sends = [request for name, request in fake.asked if name == "send"]
    assert len(sends) == 4
    assert all(request == sends[0] for request in sends)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer short"}, 401),
        ({"Authorization": "Bearer " + "x" * 500}, 401),
        ({"Authorization": "Basic " + TOKENS[Role.MANAGER]}, 401),
        (bearer(TOKENS[Role.MANAGER] + "x"), 401),
        ({**bearer(TOKENS[Role.MANAGER]), "Host": "evil.example"}, 421),
        ({**bearer(TOKENS[Role.MANAGER]), "Host": "evil.example:4711"}, 421),
        ({**bearer(TOKENS[Role.MANAGER]), "Host": "127.0.0.1:4712"}, 421),
        ({**bearer(TOKENS[Role.MANAGER]), "Origin": "http://evil.example"}, 403),
        ({**bearer(TOKENS[Role.MANAGER]), "Origin": "http://127.0.0.1:9999"}, 403),
        ({**bearer(TOKENS[Role.MANAGER]), "Origin": "null"}, 403),
    ],
)
async def test_who_has_no_token_or_comes_by_another_name_is_refused_in_words(
    headers: dict[str, str], status: int
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    async with endpoint(fake := team()) as client:
        answer = await client.post(PATH, json=message, headers=headers)
    assert answer.status_code == status
    assert len(answer.text) > 15
    assert {name for name, _ in fake.asked} <= {"identify"}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
async def test_only_post_is_served(method: str) -> None:
    async with endpoint(fake := team()) as client:
        answer = await client.request(method, PATH, headers=bearer(TOKENS[Role.MANAGER]))
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert fake.asked == []


@pytest.mark.parametrize(
    "path",
    ["/mcp/", "/MCP", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/.well-known/x", "//mcp"],
)
async def test_there_is_nothing_at_other_paths(path: str) -> None:
    async with endpoint(fake := team()) as client:
        url = httpx2.URL("http://127.0.0.1:4711").copy_with(raw_path=path.encode())
        answer = await client.post(url, headers=bearer(TOKENS[Role.MANAGER]), json={})
    assert answer.status_code == 404
    assert PATH in answer.text
    assert fake.asked == []


async def test_a_body_that_is_too_large_or_never_ends_is_refused_and_not_kept() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(10 * bodies.BODY_S)

    async def large() -> AsyncIterator[bytes]:
        for _ in range(2 * (bodies.MAX_BODY_BYTES >> 20)):
            yield b"x" * (1 << 20)

    headers = {**bearer(TOKENS[Role.MANAGER]), "Content-Type": "application/json"}
    async with endpoint(team()) as client:
        declared = await client.post(PATH, content=b"{}", headers={**headers, "Content-Length": "104857600"})
        too_large = await client.post(PATH, content=large(), headers=headers)
        begun = asyncio.get_running_loop().time()
        too_slow = await client.post(PATH, content=endless(), headers=headers)
    assert (declared.status_code, too_large.status_code, too_slow.status_code) == (413, 413, 408)
    assert asyncio.get_running_loop().time() - begun < bodies.BODY_S + 5


@pytest.mark.parametrize("body", [b"", b"no json", b"[" * 5000, b"[]", b'{"jsonrpc": "2.0"}', b'"\xff"'])
async def test_a_body_that_is_no_message_is_answered_and_harms_no_other(body: bytes) -> None:
    headers = {**bearer(TOKENS[Role.MANAGER]), "Content-Type": "application/json"}
    async with endpoint(team()) as client:
        answer = await client.post(PATH, content=body, headers=headers)
        assert 400 <= answer.status_code < 500
        assert not (await call(client, Role.MANAGER, "list")).get("isError")


async def test_one_instance_cannot_have_more_calls_under_way_than_others_need() -> None:
    go_on = asyncio.Event()

    async def wait(_request: Any, _progress: ProgressCallback) -> results.WaitResult:
        await go_on.wait()
        return results.WaitResult(reached=True, instances=[])

    async with endpoint(team(wait=wait)) as client, asyncio.TaskGroup() as group:
        waiting = [group.create_task(call(client, Role.MANAGER, "wait")) for _ in range(app.MAX_CALLS)]
        await asyncio.sleep(1)
        refused = await ask(client, TOKENS[Role.MANAGER], "tools/list")
        other = await call(client, Role.EXECUTIVE, "list")
        go_on.set()
        assert not any(result.get("isError") for result in await asyncio.gather(*waiting))
        again = await ask(client, TOKENS[Role.MANAGER], "tools/list")
    assert (refused.status_code, again.status_code) == (429, 200)
    assert not other.get("isError")


async def test_a_team_that_does_not_answer_is_told_as_a_passing_state() -> None:
    async with endpoint(team(identify=UnavailableError("The supervisor is only just starting."))) as client:
        answer = await ask(client, TOKENS[Role.MANAGER], "tools/list")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "only just starting" in answer.text


async def test_who_has_a_token_is_asked_once_in_a_while_and_a_wrong_one_each_time() -> None:
    async with endpoint(fake := team(send=sent())) as client:
        for _ in range(3):
            await call(client, Role.SPECIALIST, "send", **SEND)
        for _ in range(2):
            await ask(client, "x" * 43, "tools/list")
    assert [name for name, _ in fake.asked].count("identify") == 3


async def test_who_was_known_is_served_while_the_team_is_away_and_who_has_ended_is_not() -> None:
    fake = team()
    async with endpoint(fake) as client:
        assert (await ask(client, TOKENS[Role.SPECIALIST], "tools/list")).status_code == 200
        await asyncio.sleep(10 * app.KNOWN_S)
        fake.lose()
        assert (await ask(client, TOKENS[Role.SPECIALIST], "tools/list")).status_code == 200
        await fake.open()
        fake.replies["identify"] = RefusedError("The team knows no living instance by this token.")
        assert (await ask(client, TOKENS[Role.SPECIALIST], "tools/list")).status_code == 401
        fake.lose()
        assert (await ask(client, TOKENS[Role.SPECIALIST], "tools/list")).status_code == 401
