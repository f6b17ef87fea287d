"""The team's page in a browser: who may see it, its files, its streams and its calls.

``app`` adds its routes to the endpoint, on the host of the supervisor only. Every program of the machine and every page
of the internet that the user opens can send requests here, so each is checked before anything is done:

- Host must name this server, so no other name leads a page here. An Origin must be this one, and a call must have one.
- ``/sign-in?once=SECRET`` (``sign_in``) sets the cookie; everything else wants it. It opens nothing at the address of
  the instances' tools, and their tokens open nothing here. Link and cookie are good for a connection of our own user
  only (``peers``).
- Calls are JSON with the content type that says so, of the verbs that the page needs (``browser_calls``), with a body
  that ends. They are made in the user's name.
- At most ``MOST_STREAMS`` streams are open, of one browser ``MOST_STREAMS_OF_BROWSER``.

All texts of agents leave as JSON. The page is built by ``scripts/page`` into ``static``. ``HEADERS`` go with every
answer of the endpoint's process.
"""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actors.concurrency import beside
from actors.errors import (
    InvalidRequestError,
    PhalanxError,
    RefusedError,
    TeamNotRunningError,
    TooManyCallsError,
    UnavailableError,
    UnknownInstanceError,
    to_wire,
)
from actors.home import Home, leader_of
from mcp_entry.web import sign_in
from mcp_entry.web.bodies import pass_over, whole_body
from mcp_entry.web.browser_calls import BrowserCalls, page_verb
from mcp_entry.web.feed import TeamFeed, document
from mcp_entry.web.peers import is_own_user
from mcp_entry.web.screens import screen_frames
from supervisor.rpc.client import SupervisorClient

logger = logging.getLogger(__name__)

SENDER = "operator"
"""As with the commands of a person."""
MOST_STREAMS = 50
MOST_STREAMS_OF_BROWSER = 5
"""A browser opens six connections to one server: one is left for calls, else all of its pages would be stuck."""
HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
STATIC = Path(__file__).parent / "static"
_COOKIE_S = 400 * 86_400
"""As long as browsers allow. The session itself ends earlier."""
_ASSET = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.(css|js|svg|woff2)")
_NUMBER = re.compile(r"[0-9]{1,15}")
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
_NEVER = {"cache-control": "no-store"}
_COMMAND = "<code>phalanx dashboard</code>"
_SIGN_IN = f"You are not signed in. Run {_COMMAND} on the machine of the team: it opens this page."
_STATUS: Mapping[type[PhalanxError], int] = {
    TooManyCallsError: 429,
    UnavailableError: 503,
    TeamNotRunningError: 503,
    UnknownInstanceError: 404,
    RefusedError: 403,
    InvalidRequestError: 400,
}
"""Of errors and their subclasses, the first that fits. Others: the state of the team does not allow it."""
Handler = Callable[[Request], Awaitable[Response]]


class BrowserPages:
    """All methods belong to one event loop."""

    def __init__(self, home: Home, client: SupervisorClient, port: int, static: Path = STATIC) -> None:
        """``client``: for browsers alone. ``port``: at which the page is served, as the Host header must name it."""
        self._home = home
        self._client = client
        self._port = port
        self._static = static
        self._origins = {f"{name}:{port}": f"http://{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._cookie = f"phalanx-{port}"  # browsers give a cookie to all ports of a host
        self._feed = TeamFeed(client)
        self._calls = BrowserCalls(client)
        self._streams: set[_EventStream] = set()

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/", self._page),
            Route("/sign-in", self._sign_in),
            Route("/assets/{name}", self._asset),
            Route("/api/team", self._for_page(self._team)),
            Route("/api/work", self._for_page(self._work)),
            Route("/api/screen/{instance_id}", self._for_page(self._screen)),
            Route("/api/call/{verb}", self._for_page(self._call), methods=["POST"]),
        ]

    def end(self) -> None:
        """Ends all streams."""
        for stream in self._streams:
            stream.end()

    # --- What a person opens -------------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        if refusal := self._misled(request):
            return _words_page(refusal, 403)
        is_signed_in, leader = await self._standing(request)
        if leader:
            return _words_page(f"The team of this host is led from {html.escape(leader)}: its page is there.", 404)
        if not is_signed_in:
            if request.headers.get("sec-fetch-site") == "cross-site":
                # The cookie does not come with a step from another site, which a link in a chat is. The next one is
                # a step within this site.
                return HTMLResponse('<!doctype html><meta http-equiv="refresh" content="0; url=/">', headers=_NEVER)
            return _words_page(_SIGN_IN, 401)
        index = self._static / "index.html"
        if not await asyncio.to_thread(index.is_file):
            return _words_page(
                "The page is not built here. Run <code>scripts/page</code> in the checkout of Phalanx (it needs Node "
                "20 or newer), then open this address again.",
                503,
            )
        return FileResponse(index, headers=_NEVER)

    async def _sign_in(self, request: Request) -> Response:
        if refusal := self._misled(request):
            return _words_page(refusal, 403)
        if request.method != "GET" or "prefetch" in request.headers.get("sec-purpose", ""):
            return _words_page("This link opens the page when a person follows it.", 503)
        if not await asyncio.to_thread(is_own_user, _client_port(request), self._port):
            return _words_page("This link is for another user of this machine.", 403)
        try:
            session = await asyncio.to_thread(sign_in.use_link, self._home, request.query_params.get("once", ""))
        except PhalanxError as error:
            return _words_page(html.escape(str(error)), 503)
        if session is None:
            return _words_page(
                f"This link was used already or is too old: each is good once, for {sign_in.LINK_S / 60:.0f} minutes. "
                f"{_COMMAND} gives a new one.",
                403,
            )
        logger.info("a browser has signed in")
        response = RedirectResponse("/", 303, headers=_NEVER)
        response.set_cookie(self._cookie, session, max_age=_COOKIE_S, path="/", httponly=True, samesite="strict")
        return response

    async def _asset(self, request: Request) -> Response:
        if refusal := self._misled(request):
            return _words_page(refusal, 403)
        is_signed_in, _ = await self._standing(request)
        if not is_signed_in:
            return _words_page(_SIGN_IN, 401)
        name = request.path_params["name"]
        path = self._static / "assets" / name
        if not _ASSET.fullmatch(name) or not await asyncio.to_thread(path.is_file):
            return _words_page("There is no such file. Load the page again: it was built anew meanwhile.", 404)
        return FileResponse(path, headers=_FOREVER)

    # --- What the page asks for ----------------------------------------------------------------------------------

    def _for_page(self, handler: Handler) -> Handler:
        """``handler`` for requests of a page that is signed in. What it raises is told as JSON."""

        async def checked(request: Request) -> Response:
            try:
                if refusal := await self._refusal(request):
                    await pass_over(request)
                    return refusal
                return await handler(request)
            except PhalanxError as error:
                status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 409)
                return _told(status, **to_wire(error))
            except ClientDisconnect:
                return Response()
            except Exception as error:
                logger.exception("a request of the page failed")
                words = f"Phalanx failed inside ({type(error).__name__}); its log is web.log of the team's home."
                return _told(500, "internal", words)

        return checked

    async def _refusal(self, request: Request) -> Response | None:
        """Reads nothing of the body."""
        if words := self._misled(request):
            return _told(403, "refused", words)
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return _told(403, "refused", "Only the page itself may ask for this.")
        is_signed_in, leader = await self._standing(request)
        if not is_signed_in:
            return _told(401, "signed_out", "You are not signed in: `phalanx dashboard` opens the page anew.")
        if leader:
            return _told(404, "refused", f"The team of this host is led from {leader}: its page is there.")
        return None

    async def _team(self, request: Request) -> Response:
        heard_to = request.query_params.get("after", "")
        return self._stream(request, self._feed.frames(int(heard_to) if _NUMBER.fullmatch(heard_to) else None))

    async def _screen(self, request: Request) -> Response:
        return self._stream(request, screen_frames(self._client, request.path_params["instance_id"]))

    async def _work(self, _request: Request) -> Response:
        return _json(await self._calls.work())

    async def _call(self, request: Request) -> Response:
        verb = page_verb(request.path_params["verb"])
        if verb is None:
            await pass_over(request)
            return _told(404, "refused", "The page does not call this.")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            await pass_over(request)
            return _told(415, "invalid_request", "Give the arguments as application/json.")
        body = await whole_body(request)
        if isinstance(body, Response):
            return _told(body.status_code, "invalid_request", bytes(body.body).decode())
        try:
            arguments = json.loads(body)
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            return _told(400, "invalid_request", "The body is no JSON object.")
        async with beside(self._calls.call(verb, arguments)) as call, beside(_has_left(request)) as left:
            await asyncio.wait({call, left} if verb.read_only else {call}, return_when=asyncio.FIRST_COMPLETED)
            return _json(await call) if call.done() else Response()

    def _stream(self, request: Request, frames: AsyncGenerator[bytes]) -> Response:
        session = self._session(request)
        if sum(stream.session == session for stream in self._streams) >= MOST_STREAMS_OF_BROWSER:
            words = f"This browser has {MOST_STREAMS_OF_BROWSER} views of the team open already: close some of them."
            return _told(503, "unavailable", words)
        if len(self._streams) >= MOST_STREAMS:
            return _told(503, "unavailable", f"{MOST_STREAMS} views of the team are open already: close some of them.")
        return _EventStream(frames, session, self._streams)

    # --- Who asks ------------------------------------------------------------------------------------------------

    def _misled(self, request: Request) -> str:
        """Why this request did not come from our own page or a person; empty when it may have."""
        own = self._origins.get(request.headers.get("host", ""))
        if own is None:
            return f"The page is at http://127.0.0.1:{self._port}/ and at no other name."
        origin = request.headers.get("origin")
        if origin not in (None, own) or (origin is None and request.method not in ("GET", "HEAD")):
            return "Only the page itself may ask for this."
        return ""

    async def _standing(self, request: Request) -> tuple[bool, str]:
        """Whether its browser is signed in, and the host from which the team is led, if that is another one."""
        return await asyncio.to_thread(self._read_standing, self._session(request), _client_port(request))

    def _read_standing(self, session: str, client_port: int) -> tuple[bool, str]:
        is_signed_in = sign_in.is_session(self._home, session) and is_own_user(client_port, self._port)
        return is_signed_in, leader_of(self._home)

    def _session(self, request: Request) -> str:
        """What the browser says that it is signed in by."""
        return request.cookies.get(self._cookie, "")


class _EventStream(StreamingResponse):
    """Server-sent events until the browser goes away or ``end`` is called."""

    def __init__(self, frames: AsyncGenerator[bytes], session: str, streams: set[_EventStream]) -> None:
        """It is in ``streams`` while it is open. ``session``: of its browser."""
        super().__init__(frames, media_type="text/event-stream", headers=_NEVER)
        self.session = session
        self._frames = frames
        self._streams = streams
        self._limit = asyncio.timeout(None)
        streams.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(TimeoutError):
                async with self._limit, aclosing(self._frames):
                    if scope["method"] == "GET":
                        await super().__call__(scope, receive, send)
                    else:
                        await Response(status_code=405, headers={"allow": "GET"})(scope, receive, send)
            if self._limit.expired():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._streams.discard(self)

    def end(self) -> None:
        with suppress(RuntimeError):  # it has not begun, or is over
            self._limit.reschedule(0.0)


def _client_port(request: Request) -> int:
    return request.client.port if request.client else 0


async def _has_left(request: Request) -> None:
    """Returns when the browser has gone. The body was read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status, headers=_NEVER)


def _json(result: Mapping[str, Any]) -> Response:
    return Response(document(result), media_type="application/json", headers=_NEVER)


def _words_page(words: str, status: int) -> Response:
    """A page that says only this. ``words``: HTML."""
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width"><title>Phalanx</title>'
        f"<h1>Phalanx</h1><p>{words}</p></html>",
        status,
        headers=_NEVER,
    )
