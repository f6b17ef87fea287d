"""The MCP server: lists the tools and runs them over the team's connection.

``__main__`` serves ``EntryServer(...).server()`` over stdio. It uses the SDK's low-level server, which leaves the
schemas to us. A mistake of the caller and a fault inside both come back as a tool error that says what to do. Only a
cancelled call ends without an answer.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from actors.errors import PhalanxError, TeamNotRunningError, UnavailableError
from mcp_entry import sizes
from mcp_entry.connection import TeamConnection
from mcp_entry.notifications import AlertForwarder, ProgressNotifier
from mcp_entry.schemas import input_schema, output_schema, structured
from mcp_entry.sizes import Json
from mcp_entry.tools import INSTRUCTIONS, TOOLS, Tool
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.connection import completed

logger = logging.getLogger(__name__)
PROGRESS_AT_LEAST_EVERY_S = 8.0
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
        self._version = version
        self._log = log
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
        """Brings the team up a moment later: a client that only checks the server lists the tools and leaves."""
        self._alerts.client_is(context.session)
        self._team.begin_soon()
        return self._listing

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}. Tools: {', '.join(TOOLS)}.")
        self._alerts.client_is(context.session)
        async with ProgressNotifier(
            context.session.report_progress, at_least_every_s=self._quiet_at_most_s
        ) as progress:
            return await self._answer(tool, _without_name(tool, params.arguments or {}), progress)

    async def _answer(self, tool: Tool, given: Mapping[str, Any], progress: ProgressNotifier) -> dict[str, Any]:
        """A ``CallToolResult`` as a dict: the SDK's model would copy and check all of it once more.

        The supervisor checks the arguments. Its answer is passed on as it came, shortened.
        """
        arguments = completed(tool.verb, given)
        try:
            shown = tool.shortened(await self._run(tool, arguments, progress), arguments)
            text = tool.text(tool.verb.result.model_validate(shown))
        except PhalanxError as error:
            logger.info("%s was refused (%s)", tool.verb.name, error.code)
            return _refused(str(error))
        except Exception as error:
            logger.exception("%s failed", tool.verb.name)
            return _refused(
                f"Phalanx failed inside ({type(error).__name__}); its log is {self._log}. "
                "Look with list what is there before you make the call again."
            )
        content = structured(tool.verb.result, shown)
        if tool.text_is_answer:
            return _result(text, structuredContent=content)
        return _result(sizes.short_text(text), structuredContent=sizes.guarded(content))

    async def _run(self, tool: Tool, arguments: Json, progress: ProgressNotifier) -> Json:
        if not self._team.connected:
            progress.on_progress(0, 0, "reaching the team, starting it if need be…")
        client = await self._team.client()
        try:
            return await self._call_over(client, tool, arguments, progress)
        except (TeamNotRunningError, UnavailableError) as error:
            raise UnavailableError(f"{error}{_how_to_repeat(arguments)}") from error

    async def _call_over(
        self, client: SupervisorClient, tool: Tool, arguments: Json, progress: ProgressNotifier
    ) -> Json:
        """Repeats the call once when its connection breaks and the verb only reads or carries a request id."""
        verb, asked = tool.verb, tool.asked(arguments)
        try:
            return await client.call_json(verb, asked, progress.on_progress)
        except PhalanxError:
            if not (client.closed and (verb.read_only or "requestId" in asked)):
                raise
        logger.info("the connection broke during %s; making the call again", verb.name)
        return await (await self._team.client()).call_json(verb, asked, progress.on_progress)


def _without_name(tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments without ``tool``: the guide writes a call as one object that holds the tool's name."""
    if arguments.get("tool") != tool.verb.name:
        return arguments
    return {name: value for name, value in arguments.items() if name != "tool"}


def _how_to_repeat(arguments: Json) -> str:
    request_id = arguments.get("requestId")
    return f" The same call with requestId {request_id} is not done twice." if request_id else ""


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.verb.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.verb.request),
        output_schema=output_schema(tool.verb.result),
        annotations=tool.hints.model_copy(update={"title": tool.title}),
    )


def _refused(reason: str) -> dict[str, Any]:
    return _result(reason, isError=True)


def _result(text: str, **more: Any) -> dict[str, Any]:
    """The text without lone surrogates (a file name may have them), which no JSON writer accepts."""
    content = {"type": "text", "text": text.encode(errors="replace").decode()}
    return {"resultType": "complete", "content": [content], **more}
