"""The endpoint and the real Claude Code: what it is shown, what it calls, and what it notices of a killed process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from actors.host.endpoint import TeamEndpoint
from actors.marks import TEAM_SERVER as NAME
from mcp_entry.tools import TOOLS
from mcp_entry.web.server import with_request_id
from supervisor.api.requests import Request, SendRequest
from supervisor.api.results import Result
from supervisor.api.verbs import Caller
from tests.integration.rpc.conftest import ScriptedVerbs
from tests.integration.web.conftest import SENT, TOKEN, the_process
from tests.projects import make_repository
from tests.standin.api import ApiStandIn, Json, text_block, tool_block, tool_results
from tests.standin.claude_home import make_claude_home, standin_environment

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(180), pytest.mark.each_version]
ARGUMENTS = {"instanceId": "mgr_1", "message": "It is done."}
SEND = f"mcp__{NAME}__send"
_RUN_S = 120.0


class ClaudeRun:
    """One ``claude -p`` whose MCP server is the endpoint."""

    def __init__(self, claude: Path, directory: Path, api: ApiStandIn, url: str) -> None:
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "600000",
            **standin_environment(api.url, make_claude_home(directory / "user")),
        }
        self._repository = make_repository(directory / "project")
        server = {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {TOKEN}"}}
        (directory / "mcp.json").write_text(json.dumps({"mcpServers": {NAME: server}}))
        (directory / "settings.json").write_text(json.dumps({"permissions": {"allow": [f"mcp__{NAME}__*"]}}))
        self._command = [
            *(str(claude), "-p", "@@script work", "--mcp-config", str(directory / "mcp.json"), "--strict-mcp-config"),
            *("--settings", str(directory / "settings.json")),
        ]

    async def output(self) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._repository,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_RUN_S):
                return (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def report(messages: list[Json]) -> Json:
    return text_block("RESULT: " + tool_results(messages[-1])[-1])


async def test_a_claude_is_shown_its_tools_and_calls_one_without_a_dialog(
    endpoint: TeamEndpoint, verbs: ScriptedVerbs, claude_command: Path, short_tmp: Path
) -> None:
    asked: list[SendRequest] = []

    async def send(request: Request, caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        assert caller.token == TOKEN
        asked.append(request)
        return SENT

    verbs.answers["send"] = send
    with ApiStandIn() as api:
        api.scripts["work"] = [lambda _: tool_block(SEND, ARGUMENTS), report]
        output = await ClaudeRun(claude_command, short_tmp, api, await endpoint.ensure()).output()
        shown = {tool["name"] for request in api.requests for tool in request.get("tools", [])}
        uses = _tool_uses(api)
    assert "RESULT: " in output, output
    assert "accepted" in output
    assert {f"mcp__{NAME}__{name}" for name in ("send", "read", "list")} <= shown
    ((use, arguments),) = uses
    made = with_request_id(TOOLS["send"], arguments, TOKEN, {"claudecode/toolUseId": use}, "")
    assert [request.request_id for request in asked] == [made["requestId"]]


def _tool_uses(api: ApiStandIn) -> list[tuple[str, Any]]:
    blocks = [
        block
        for message in api.requests[-1]["messages"]
        for block in message["content"]
        if isinstance(block, dict) and block.get("type") == "tool_use"
    ]
    return [(block["id"], block["input"]) for block in blocks]


async def test_a_call_that_comes_while_a_killed_process_is_replaced_is_only_slow(
    endpoint: TeamEndpoint, home: Home, claude_command: Path, short_tmp: Path
) -> None:
    def kill_and_call(_messages: list[Json]) -> Json:
        the_process(home).kill()
        return tool_block(SEND, ARGUMENTS)

    with ApiStandIn() as api:
        api.scripts["work"] = [lambda _: tool_block(SEND, ARGUMENTS), kill_and_call, kill_and_call, report]
        output = await ClaudeRun(claude_command, short_tmp, api, await endpoint.ensure()).output()
    assert "accepted" in output, output


async def test_a_call_that_a_killed_process_takes_along_is_only_slow_and_is_done_once(
    endpoint: TeamEndpoint, home: Home, verbs: ScriptedVerbs, claude_command: Path, short_tmp: Path
) -> None:
    asked: list[str | None] = []

    async def send(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        asked.append(request.request_id)
        if len(asked) == 1:
            the_process(home).kill()
            await asyncio.Event().wait()
        return SENT

    verbs.answers["send"] = send
    with ApiStandIn() as api:
        api.scripts["work"] = [lambda _: tool_block(SEND, ARGUMENTS), report]
        output = await ClaudeRun(claude_command, short_tmp, api, await endpoint.ensure()).output()
    assert "accepted" in output, output
    first, again = asked
    assert first
    assert first == again
