"""The MCP servers of the endpoint: one for each role, with the tools of that role. ``app`` chooses by the token.

They hold no session. Every call is made in the name of the instance whose token came with the request: the supervisor
decides what it may do, whatever was listed. A call of Claude carries the id of its model's tool use; from it comes the
request id, so that a call that comes twice is done once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from starlette.requests import Request

from actors.marks import TEAM_SERVER
from mcp_entry.calls import ToolCaller
from mcp_entry.notifications import ProgressNotifier
from mcp_entry.tools import Tool
from mcp_entry.web.tools import described, tools_of
from supervisor.api.requests import Role

_TOKEN = "phalanx.token"  # noqa: S105 - a name
"""In the scope of a request."""
_TOOL_USE = "claudecode/toolUseId"
_NO_PROGRESS_S = 3600.0
"""Answers are single JSON documents, in which no progress can be told."""
Context = ServerRequestContext[Any, Any]


def server_for(role: Role, calls: ToolCaller, version: str) -> Server[Any]:
    """The server that instances of this role talk to."""
    tools = tools_of(role)
    listing = types.ListToolsResult(tools=described(role))

    async def list_tools(_context: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return listing

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}. Tools: {', '.join(tools)}.")
        token = token_of(context.request)
        given = with_request_id(tool, params.arguments or {}, token, dict(params.meta or {}))
        async with ProgressNotifier(context.session.report_progress, at_least_every_s=_NO_PROGRESS_S) as progress:
            return await calls.answer(tool, given, progress, token)

    server: Server[Any] = Server(TEAM_SERVER, title="Phalanx", version=version, on_list_tools=list_tools)
    server.middleware.clear()  # its traces have no reader here
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    return server


def known_as(request: Request, token: str) -> None:
    """Notes the token that was checked."""
    request.scope[_TOKEN] = token


def token_of(request: Request | None) -> str:
    if request is None:
        raise RuntimeError("a call came without its HTTP request")
    return str(request.scope[_TOKEN])


def with_request_id(tool: Tool, arguments: Mapping[str, Any], token: str, meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments with a request id that is the same when Claude makes the same call again."""
    tool_use = meta.get(_TOOL_USE)
    if not tool.takes_request_id or not isinstance(tool_use, str) or arguments.get("requestId") is not None:
        return arguments
    # With the content, because the id is the client's word: another call must not be taken for one that was made.
    call = json.dumps([token, tool_use, tool.verb.name, arguments], sort_keys=True)
    return {**arguments, "requestId": hashlib.sha256(call.encode()).hexdigest()[:32]}
