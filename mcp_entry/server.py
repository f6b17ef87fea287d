"""The MCP server of a lead: lists the tools and lets ``ToolCaller`` run them.

``__main__`` serves ``EntryServer(...).server()`` over stdio. It uses the SDK's low-level server, which leaves the
schemas to us.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from mcp_entry.calls import ToolCaller
from mcp_entry.connection import TeamConnection
from mcp_entry.notifications import AlertForwarder, ProgressNotifier
from mcp_entry.schemas import input_schema, output_schema
from mcp_entry.tools import INSTRUCTIONS, TOOLS, Tool

PROGRESS_AT_LEAST_EVERY_S = 8.0
logger = logging.getLogger(__name__)
Context = ServerRequestContext[Any, Any]


class EntryServer:
    def __init__(
        self,
        team: TeamConnection,
        alerts: AlertForwarder,
        *,
        version: str,
        log: Path,
        quiet_at_most_s: float = PROGRESS_AT_LEAST_EVERY_S,
    ) -> None:
        self._team = team
        self._calls = ToolCaller(team, log=log, repeats=1)
        self._version = version
        self._quiet_at_most_s = quiet_at_most_s
        self._alerts = alerts

    def server(self) -> Server[Any]:
        server: Server[Any] = Server(
            "phalanx",
            title="Phalanx",
            version=self._version,
            instructions=INSTRUCTIONS,
            lifespan=self._serving,
            on_list_tools=self._list_tools,
        )
        server.middleware.clear()  # its traces have no reader here
        server.add_request_handler("tools/call", types.CallToolRequestParams, self._call_tool)
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self._set_level)
        return server

    @asynccontextmanager
    async def _serving(self, _server: Server[Any]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._alerts.end()

    async def _set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self._alerts.client_is(context.session)
        self._alerts.set_level(params.level)
        return types.EmptyResult()

    @cached_property
    def _listing(self) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in TOOLS.values()])

    async def _list_tools(
        self, context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """Reaches a team that is there a moment later: a client that only checks the server lists the tools and
        leaves."""
        self._alerts.client_is(context.session)
        self._team.reach_soon()
        logger.info("its client has the tools")
        return self._listing

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}. Tools: {', '.join(TOOLS)}.")
        self._alerts.client_is(context.session)
        async with ProgressNotifier(
            context.session.report_progress, at_least_every_s=self._quiet_at_most_s, alike=tool.verb.alike
        ) as progress:
            return await self._calls.answer(tool, params.arguments or {}, progress)


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.verb.name,
        description=tool.description,
        input_schema=input_schema(tool.verb.request, unlisted=tool.unlisted),
        output_schema=output_schema(tool.verb.result),
        annotations=tool.hints,
        _meta=_for_claude_code(tool),
    )


def _for_claude_code(tool: Tool) -> dict[str, Any] | None:
    meta: dict[str, Any] = {}
    if tool.always_loaded:
        meta["anthropic/alwaysLoad"] = True
    if tool.search_hint is not None:
        meta["anthropic/searchHint"] = tool.search_hint
    return meta or None
