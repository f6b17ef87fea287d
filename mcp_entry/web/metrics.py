"""``/metrics`` of the endpoint: the team's figures for Prometheus.

Each scrape carries the token of ``metrics-token`` in the home. Host and Origin are checked as for every request here,
and no cookie opens it. The figures come from the supervisor by the verb ``metrics``, over a connection of their own: a
scrape never brings a team up, and it says within the time that Prometheus waits that the team does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from actors.errors import PhalanxError
from actors.home import Home
from supervisor.api.requests import MetricsRequest
from supervisor.api.results import MetricsResult
from supervisor.metrics.scrape_token import is_scrape_token

PATH = "/metrics"
ANSWER_S = 8.0
"""Prometheus waits 10 s unless it is told otherwise."""
_HEADERS = {"Cache-Control": "no-store"}


class MetricsEndpoint:
    """The ASGI endpoint at ``PATH``."""

    def __init__(self, home: Home, metrics: Callable[[MetricsRequest], Awaitable[MetricsResult]], port: int) -> None:
        """``metrics``: the verb. ``port``: at which it is served, as the Host header must name it."""
        names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
        self._security = TransportSecurityMiddleware(
            TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names])
        )
        self._home = home
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        answer.headers.update(_HEADERS)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if refusal := await self._security.validate_request(request):
            return refusal
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET is served here.", 405, {"Allow": "GET, HEAD"})
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not await asyncio.to_thread(is_scrape_token, self._home, token.strip()):
            words = f"Give the token that stands in {self._home.metrics_token_file.name} of the team's home, on the "
            words += "machine of its supervisor: Authorization: Bearer TOKEN. `phalanx metrics --scrape-config` tells "
            return PlainTextResponse(f"{words}Prometheus how.", 401, {"WWW-Authenticate": "Bearer"})
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await self._metrics(MetricsRequest())
        except TimeoutError:
            return PlainTextResponse(f"The team did not answer within {ANSWER_S:.0f} s.", 503)
        except PhalanxError as error:
            return PlainTextResponse(str(error), 503)
        return Response(found.text, media_type=found.content_type)
