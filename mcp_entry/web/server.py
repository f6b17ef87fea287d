"""The MCP servers of the endpoint: one for each role, with the tools of that role. ``app`` chooses by the token.

They hold no session. Every call is made in the name of the instance whose token came with the request: the supervisor
decides what it may do, whatever was listed. A call of Claude carries the id of its model's tool use; from it comes the
request id, so that a call that comes twice is done once. Another client's call gets one that is the same when the next
process makes it again. What has no request id and must not be done twice is not made again: the answer says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from starlette.requests import Request

from actors.marks import TEAM_SERVER
from mcp_entry.calls import ToolCaller, outcome_unknown
from mcp_entry.notifications import ProgressNotifier
from mcp_entry.tools import Tool
from mcp_entry.web.held_calls import HeldCall
from mcp_entry.web.tools import described, tools_of
from supervisor.api.requests import Role

_KNOWN = "phalanx.known"
"""In the scope of a request."""
_TOOL_USE = "claudecode/toolUseId"
_NO_PROGRESS_S = 3600.0
"""Answers are single JSON documents, in which no progress can be told."""
Context = ServerRequestContext[Any, Any]


def server_for(role: Role, calls: ToolCaller, version: str) -> Server[Any]:
    """The server that instances of this role talk to."""
    tools = tools_of(role)

    async def list_tools(_context: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return _listing(role)

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}. Tools: {', '.join(tools)}.")
        token, held = known(context.request)
        if held.may_have_begun and not (tool.verb.repeatable or tool.takes_request_id):
            return outcome_unknown(tool)
        given = with_request_id(tool, params.arguments or {}, token, dict(params.meta or {}), held.key)
        async with ProgressNotifier(context.session.report_progress, at_least_every_s=_NO_PROGRESS_S) as progress:
            return await calls.answer(tool, given, progress, token)

    server: Server[Any] = Server(TEAM_SERVER, title="Phalanx", version=version, on_list_tools=list_tools)
    server.middleware.clear()  # its traces have no reader here
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    return server


@cache
def _listing(role: Role) -> types.ListToolsResult:
    """Made when somebody asks: calls of agents that know it wait for a process that has just replaced another."""
    return types.ListToolsResult(tools=described(role))


def known_as(request: Request, token: str, call: HeldCall) -> None:
    """Notes the token that was checked, and the call."""
    request.scope[_KNOWN] = token, call


def known(request: Request | None) -> tuple[str, HeldCall]:
    if request is None:
        raise RuntimeError("a call came without its HTTP request")
    token, call = request.scope[_KNOWN]
    return token, call


def with_request_id(
    tool: Tool, arguments: Mapping[str, Any], token: str, meta: Mapping[str, Any], key: str
) -> Mapping[str, Any]:
    """The arguments with a request id that is the same when Claude makes the same call again.

    ``key``: of a call that does not say of which tool use it is.
    """
    if not tool.takes_request_id or arguments.get("requestId") is not None:
        return arguments
    tool_use = meta.get(_TOOL_USE, key)
    # With the content, because the id is the client's word: another call must not be taken for one that was made.
    call = json.dumps([token, tool_use, tool.verb.name, arguments], sort_keys=True)
    return {**arguments, "requestId": hashlib.sha256(call.encode()).hexdigest()[:32]}
