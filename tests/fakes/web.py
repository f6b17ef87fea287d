"""The endpoint of the instances without sockets: its application over a team that is a fake."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from actors.errors import RefusedError
from actors.home import Home
from actors.host.endpoint import PATH
from mcp_entry.calls import ToolCaller
from mcp_entry.connection import TeamConnection
from mcp_entry.web.app import Endpoint, TokenRoles, application
from mcp_entry.web.browser import BrowserPages
from mcp_entry.web.held_calls import HeldCalls
from mcp_entry.web.server import server_for
from supervisor.api import results
from supervisor.api.requests import IdentifyRequest, Role
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import FakeClient
from tests.fakes.lead import no_bring_up

PORT = 4711
URL = f"http://127.0.0.1:{PORT}"
TOKENS: Mapping[Role, str] = {role: f"token-of-one-{role}-0123456789" for role in Role}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


def team(**replies: Any) -> FakeClient:
    """A team with one instance of each role."""

    async def identify(request: IdentifyRequest, _progress: ProgressCallback) -> results.IdentifyResult:
        for role, token in TOKENS.items():
            if hashlib.sha256(token.encode()).hexdigest() == request.token_hash:
                return results.IdentifyResult(instance_id=f"{role}_1", role=role)
        raise RefusedError("The team knows no living instance by this token: nothing was done.")

    return FakeClient(**{"identify": identify, **replies})


@asynccontextmanager
async def endpoint(fake: FakeClient, repeats: int = 3) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the endpoint; its requests carry no token."""
    connection = TeamConnection(fake, no_bring_up, patience_s=5.0)
    calls = ToolCaller(connection, log=Path("/home/logs/web.log"), repeats=repeats)
    made = Endpoint({role: server_for(role, calls, "1") for role in Role}, TokenRoles(connection), PORT, HeldCalls())
    pages = BrowserPages(Home(Path("/nowhere")), fake, PORT)
    async with made.serving():
        transport = httpx2.ASGITransport(application(made, *pages.routes), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=URL, headers=HEADERS) as client:
            yield client
    await connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(
    client: httpx2.AsyncClient, token: str, method: str, *, meta: Mapping[str, Any] | None = None, **params: Any
) -> httpx2.Response:
    """One request of MCP."""
    sent = {**params, **({"_meta": dict(meta)} if meta else {})}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": sent}
    return await client.post(PATH, json=message, headers=bearer(token))


async def call(
    client: httpx2.AsyncClient, role: Role, tool: str, *, meta: Mapping[str, Any] | None = None, **arguments: Any
) -> dict[str, Any]:
    """The result of a tool, called by the instance of this role."""
    answer = await ask(client, TOKENS[role], "tools/call", meta=meta, name=tool, arguments=arguments)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result
