"""An MCP client of an entry whose team is a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.session import LoggingFnT

from mcp_entry.connection import BringUp, OnStep, TeamConnection
from mcp_entry.notifications import AlertForwarder
from mcp_entry.server import EntryServer
from tests.fakes.gateway import FakeClient

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])


async def no_bring_up(on_step: OnStep) -> None:
    raise AssertionError("a team that answers is not brought up")


@asynccontextmanager
async def lead(
    fake: FakeClient,
    *,
    bring_up: BringUp = no_bring_up,
    mode: Any = "auto",
    quiet_at_most_s: float = 5.0,
    on_log: LoggingFnT | None = None,
) -> AsyncIterator[Client]:
    """A client of an entry that reaches its team by a fake."""
    team = TeamConnection(fake, bring_up, patience_s=5.0)
    log = Path("/home/logs/entry.log")
    entry = EntryServer(team, AlertForwarder(fake), version="1", log=log, quiet_at_most_s=quiet_at_most_s)
    async with Client(entry.server(), mode=mode, logging_callback=on_log) as client:
        yield client
    await team.close()


async def structured(tool: str, arguments: dict[str, Any], fake: FakeClient) -> dict[str, Any]:
    """The structured content that a tool gives."""
    async with lead(fake) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    return result.structured_content or {}


def text_of(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text
