"""Runs the tool calls of a Claude over the team's connection.

``server`` (a lead's stdio) and ``web`` (the instances' HTTP) call ``ToolCaller``. A mistake of the caller and a fault
inside both come back as a tool error that says what to do. Only a cancelled call ends without an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.errors import PhalanxError, TeamNotRunningError, UnavailableError
from mcp_entry import sizes
from mcp_entry.connection import TeamConnection
from mcp_entry.notifications import ProgressNotifier
from mcp_entry.schemas import structured
from mcp_entry.sizes import Json
from mcp_entry.tools import Tool
from supervisor.api.verbs import Verb
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.connection import advice, completed

logger = logging.getLogger(__name__)


class ToolCaller:
    def __init__(self, team: TeamConnection, *, log: Path, repeats: int) -> None:
        """``log``: of this process, for people. ``repeats``: how often a call whose connection broke is made again
        beyond what the client does by itself, if the verb only reads or the call carries a request id."""
        self._team = team
        self._log = log
        self._repeats = repeats

    async def answer(
        self, tool: Tool, given: Mapping[str, Any], progress: ProgressNotifier, token: str | None = None
    ) -> dict[str, Any]:
        """A ``CallToolResult`` as a dict: the SDK's model would copy and check all of it once more.

        The supervisor checks the arguments. Its answer is passed on as it came, shortened. ``token``: of the instance
        that calls; None: the user's lead.
        """
        arguments = completed(tool.verb, _without_name(tool, given))
        try:
            shown = tool.shortened(await self._run(tool, arguments, progress, token), arguments)
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

    async def _run(self, tool: Tool, arguments: Json, progress: ProgressNotifier, token: str | None) -> Json:
        verb, asked = tool.verb, tool.asked(arguments)
        if not (self._team.connected or verb.read_only):
            progress.on_progress(0, 0, "reaching the team, starting it if need be…")
        client = await self._client(verb, progress)
        try:
            for _ in range(self._repeats):
                try:
                    return await client.call_json(verb, asked, progress.on_progress, token)
                except PhalanxError:
                    if not (client.closed and (verb.read_only or "requestId" in asked)):
                        raise
                logger.info("the connection broke during %s; making the call again", verb.name)
                client = await self._client(verb, progress)
            return await client.call_json(verb, asked, progress.on_progress, token)
        except (TeamNotRunningError, UnavailableError) as error:
            raise UnavailableError(f"{error}{_how_to_repeat(arguments)}") from error

    async def _client(self, verb: Verb[Any, Any], progress: ProgressNotifier) -> SupervisorClient:
        def on_step(step: str) -> None:
            progress.on_progress(0, 0, f"{step}…")

        return await self._team.client(only_reads=verb.read_only, on_step=on_step)


def outcome_unknown(tool: Tool) -> dict[str, Any]:
    """The answer to a call that a process of Phalanx which was killed may have made."""
    return _refused(f"The process that made this call has ended. {advice(tool.verb)}")


def _without_name(tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments without ``tool``: the guide writes a call as one object that holds the tool's name."""
    if arguments.get("tool") != tool.verb.name:
        return arguments
    return {name: value for name, value in arguments.items() if name != "tool"}


def _how_to_repeat(arguments: Json) -> str:
    request_id = arguments.get("requestId")
    return f" The same call with requestId {request_id} is not done twice." if request_id else ""


def _refused(reason: str) -> dict[str, Any]:
    return _result(reason, isError=True)


def _result(text: str, **more: Any) -> dict[str, Any]:
    """The text without lone surrogates (a file name may have them), which no JSON writer accepts."""
    content = {"type": "text", "text": text.encode(errors="replace").decode()}
    return {"resultType": "complete", "content": [content], **more}
