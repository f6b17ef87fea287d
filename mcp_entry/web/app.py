"""The HTTP application of the endpoint: who calls, what is refused, and the MCP server of the caller's role.

What a browser is served, the team's page, is in ``browser``.

``__main__`` serves it on the loopback interface, which every user of the machine and every page in a browser can reach.
So each request is checked before anything of it is done: path, method, Host and Origin (a page must not reach it
through a name of its own), the token, and the size and pace of its body. What is refused is told in words. Each answer
ends its connection: a client never sends a call into one whose end has not reached it yet. What is not refused is held
until it is answered (``held_calls``).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from cachetools import LRUCache
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from actors.errors import PhalanxError, RefusedError, UnavailableError
from actors.host.endpoint import PATH
from mcp_entry.connection import TeamConnection
from mcp_entry.web.bodies import MAX_BODY_BYTES, refuse, whole_body
from mcp_entry.web.held_calls import HeldCall, HeldCalls
from mcp_entry.web.server import known_as
from supervisor.api.requests import Role
from supervisor.api.verbs import TeamVerbs

logger = logging.getLogger(__name__)

MAX_CALLS = 32
"""Of one instance at the same time."""
KNOWN_S = 5.0
"""How long an answer to who has a token is used again."""
_KNOWN = 4096
_ASKING = 8
"""Questions for who has a token that wait for the supervisor at the same time: everybody can ask them."""
_IDENTIFY_S = 100.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")
"""Anything else cannot be a token, so nobody is asked."""


class Identify(Protocol):
    async def __call__(self, token: str) -> Role:
        """The role of the instance that has the token. Raises ``RefusedError`` when none has it, and
        ``UnavailableError`` when the team does not answer."""
        ...


class TokenRoles:
    """``Identify`` by the supervisor, remembered for ``KNOWN_S``, and longer while the team is away. What is remembered
    opens nothing: the supervisor checks the token of each call again."""

    def __init__(self, team: TeamConnection) -> None:
        self._team = team
        self._known: LRUCache[str, tuple[Role, float]] = LRUCache(_KNOWN)
        """By hash, and when it was heard."""
        self._asking = asyncio.Semaphore(_ASKING)

    async def __call__(self, token: str) -> Role:
        hashed = hashlib.sha256(token.encode()).hexdigest()
        if known := self._known.get(hashed):
            role, heard_at = known
            if not self._team.connected or time.monotonic() - heard_at < KNOWN_S:
                return role
        try:
            async with asyncio.timeout(_IDENTIFY_S), self._asking:
                client = await self._team.client()
                answer = await client.call_json(TeamVerbs.identify, {"tokenHash": hashed})
        except TimeoutError:
            raise UnavailableError(f"The team did not answer within {_IDENTIFY_S:.0f} s.") from None
        except RefusedError:
            self._known.pop(hashed, None)
            raise
        role = Role(answer["role"])
        self._known[hashed] = role, time.monotonic()
        return role


class Endpoint:
    """The ASGI endpoint at ``PATH``."""

    def __init__(self, servers: Mapping[Role, Server[Any]], identify: Identify, port: int, held: HeldCalls) -> None:
        """``port``: at which it is served, as the Host header must name it."""
        names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
        security = TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names])
        self._security = TransportSecurityMiddleware(security)
        self._identify = identify
        self._held = held
        self._managers = {
            role: StreamableHTTPSessionManager(
                server,
                json_response=True,
                stateless=True,
                security_settings=security,
                max_request_body_size=MAX_BODY_BYTES,
            )
            for role, server in servers.items()
        }
        self._calls: dict[str, int] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for manager in self._managers.values():
                await stack.enter_async_context(manager.run())
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held.call(scope) as call:
            await self._answer(Request(scope, receive), call, call.answering(send))

    async def _answer(self, request: Request, call: HeldCall, send: Send) -> None:
        caller = await self._caller(request)
        if isinstance(caller, Response):
            await refuse(request, caller, send)
            return
        role, token = caller
        self._calls[token] = self._calls.get(token, 0) + 1
        try:
            await self._serve(role, token, request, call, send)
        finally:
            self._calls[token] -= 1
            if not self._calls[token]:
                del self._calls[token]

    async def _caller(self, request: Request) -> tuple[Role, str] | Response:
        """Who calls, or why nothing is done for this request. Reads nothing of its body."""
        if refusal := await self._security.validate_request(request):
            return refusal
        if request.method != "POST":
            words = "Only POST is served here: there are no sessions, and nothing is sent unasked."
            return PlainTextResponse(words, 405, {"Allow": "POST"})
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
            return _unauthorized("Give the token of an instance: Authorization: Bearer TOKEN.")
        try:
            role = await self._identify(token)
        except RefusedError as error:
            return _unauthorized(str(error))
        except PhalanxError as error:
            return PlainTextResponse(f"{error} Make the call again in a moment.", 503, {"Retry-After": "5"})
        if self._calls.get(token, 0) >= MAX_CALLS:
            return PlainTextResponse(f"{MAX_CALLS} calls of this instance run already: wait for some of them.", 429)
        return role, token

    async def _serve(self, role: Role, token: str, request: Request, call: HeldCall, send: Send) -> None:
        try:
            body = await whole_body(request)
        except ClientDisconnect:
            return
        if isinstance(body, Response):
            await refuse(request, body, send)
            return
        await call.hold(body)
        known_as(request, token, call)
        await self._managers[role].handle_request(request.scope, _replayed(body, request.receive), send)


def application(endpoint: Endpoint, *more: BaseRoute) -> Starlette:
    """``more``: what else is served beside the tools."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with endpoint.serving():
            yield

    app = Starlette(routes=[Route(PATH, endpoint), *more], lifespan=lifespan, exception_handlers={404: _not_found})
    app.router.redirect_slashes = False
    return app


async def _not_found(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse(f"There is nothing here: the team's page is at /, its tools are at {PATH}.", 404)


def _unauthorized(words: str) -> Response:
    return PlainTextResponse(words, 401, {"WWW-Authenticate": "Bearer"})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read already, then what comes after it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed
