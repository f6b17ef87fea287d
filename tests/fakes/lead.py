"""An MCP client of an entry whose team is a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client import Client

from mcp_entry.connection import TeamConnection
from mcp_entry.server import EntryServer
from tests.fakes.gateway import FakeClient

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])


@asynccontextmanager
async def lead(*clients: FakeClient, mode: Any = "auto", quiet_at_most_s: float = 5.0) -> AsyncIterator[Client]:
    """A client of an entry whose team is reached through one fake after the other."""
    left = list(clients)

    async def connect() -> Any:
        return left.pop(0)

    async def bring_up() -> None:
        raise AssertionError("a team that answers is not brought up")

    team = TeamConnection(connect, bring_up, patience_s=5.0)
    entry = EntryServer(team, version="1", log=Path("/home/logs/entry.log"), quiet_at_most_s=quiet_at_most_s)
    async with Client(entry.server(), mode=mode) as client:
        yield client
    await team.close()


def text_of(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text
