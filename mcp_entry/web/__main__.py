"""``python -m mcp_entry.web``: the process that serves the team's tools to the instances of this host, and the team's
page to its user's browsers.

``actors.host.endpoint`` starts it and watches it. It is a client of the supervisor as any other, holds no state, and
may die at any time. It outlives supervisor and Ray, and brings a team back that was lost, as a lead's entry does. It
ends by SIGTERM, and by itself when the team of its home was brought down. Its log is ``logs/web.log`` of the home. The
home is that of ``PHALANX_HOME``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket as sockets
import sys
from contextlib import suppress
from importlib.metadata import version

import uvicorn
from starlette.routing import Route

from actors.concurrency import TaskSet
from actors.errors import PhalanxError, TeamNotRunningError
from actors.files import FileLock
from actors.home import Home, away_words, home_from, leader_of, team_leader_of
from actors.host.endpoint import LOG_NAME, listen_at_kept_port
from actors.host.open_calls import OpenCall
from actors.processes import allow_many_files
from actors.sockets import check_is_socket, is_answered, listen
from mcp_entry.calls import ToolCaller
from mcp_entry.connection import BringUpProcess, NoTeamError, OnStep, TeamConnection
from mcp_entry.log import log_to
from mcp_entry.web import browser
from mcp_entry.web.app import Endpoint, TokenRoles, application
from mcp_entry.web.held_calls import HeldCalls
from mcp_entry.web.metrics import PATH as METRICS_PATH
from mcp_entry.web.metrics import MetricsEndpoint
from mcp_entry.web.protocol import ImpatientProtocol, QuietServer
from mcp_entry.web.server import server_for
from supervisor.api.requests import Role
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import wanted_team

SENDER = "web"
PATIENCE_S = 45.0
"""How long a call waits for a connection to the team; with the time that the client waits by itself, under 110 s."""
REPEATS = 3
STARTING_S = 20.0
"""How long the supervisor of a team that is just being brought up is waited for."""
MOST_CONNECTIONS = 4000
_GOODBYE_S = 2
_LOCK_S = 2.0
"""One that was killed may hold the lock for a moment more."""
_LOOK_S = 1.0
_OVER_S = 5.0
logger = logging.getLogger("mcp_entry.web")


class WebProcess:
    """Made and run in one event loop."""

    def __init__(self, home: Home, listener: sockets.socket, *, keeper_comes: bool) -> None:
        self._home = home
        self._listener = listener
        self._bring_up = BringUpProcess(home=home, environment=dict(os.environ))
        self._client = SupervisorClient(home, SENDER)
        bring_back = None if leader_of(home) else self._bring_up.bring_back
        self._team = TeamConnection(self._client, self._bring_back, patience_s=PATIENCE_S, bring_back=bring_back)
        calls = ToolCaller(self._team, log=home.logs / LOG_NAME, repeats=REPEATS)
        servers = {role: server_for(role, calls, version("phalanx")) for role in Role}
        self._held = HeldCalls(keeper_comes=keeper_comes)
        self._left_over = TaskSet("call that was left over")
        port = listener.getsockname()[1]
        endpoint = Endpoint(servers, TokenRoles(self._team), port, self._held)
        self._page_client = SupervisorClient(home, browser.SENDER)
        self._pages = browser.BrowserPages(home, self._page_client, port)
        self._scraper = SupervisorClient(home, "prometheus")
        metrics = Route(METRICS_PATH, MetricsEndpoint(home, self._scraper.metrics, port))
        self._server = QuietServer(
            uvicorn.Config(
                application(endpoint, *self._pages.routes, metrics),
                loop="asyncio",
                http=ImpatientProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # anybody may write them, and they would name another connection's port
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=_GOODBYE_S,
                headers=[("connection", "close"), *browser.HEADERS],
                date_header=False,
                server_header=False,
            )
        )

    async def run(self) -> None:
        """Returns when it was told to end, or the team is over."""
        check_is_socket(self._home.web_socket)
        private = listen(self._home.web_socket)
        holding = asyncio.create_task(self._held.serve(private, self._listener, self._take_over), name="open calls")
        watch = asyncio.create_task(self._until_over(), name="the end of the team")
        streams = asyncio.create_task(self._end_streams(), name="the end of the streams")
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            watch.cancel()
            streams.cancel()
            holding.cancel()
            private.close()
            await self._left_over.end(within_s=_GOODBYE_S)
            await self._scraper.close()
            await self._team.close()
            await self._page_client.close()

    def _take_over(self, call: OpenCall) -> None:
        logger.info("makes a call that the process before has left over")
        self._left_over.begin(self._serve_left_over(call))

    async def _serve_left_over(self, call: OpenCall) -> None:
        try:
            await self._server.take_over(call)
        except OSError as error:
            logger.info("its agent is gone: %s", error)
            await self._held.let_go(call.call_id)

    async def _end_streams(self) -> None:
        """The server waits for every answer that it has begun."""
        await self._server.until_told_to_end()
        self._pages.end()

    async def _bring_back(self, on_step: OnStep) -> None:
        """Waits for a supervisor that is being started, and brings back a team that was lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STARTING_S):
                while True:
                    if await is_answered(self._home.gateway_socket):
                        return
                    await asyncio.sleep(_LOOK_S / 5)
        if leader := leader_of(self._home):
            raise TeamNotRunningError(away_words(leader))
        try:
            await self._bring_up.bring_back(on_step)
        except NoTeamError:
            raise TeamNotRunningError(f"The team in {self._home.root} was brought down.") from None

    async def _until_over(self) -> None:
        """Ends the server when the team was brought down. Looks only while the team does not answer."""
        with suppress(PhalanxError):
            await self._team.client()
        while True:
            await self._client.until_lost()
            await asyncio.sleep(_LOOK_S)
            if self._client.closed and not self._is_wanted():
                await asyncio.sleep(_OVER_S)  # a bring-up replaces the team's file
                if not self._is_wanted():
                    logger.info("ends: the team was brought down")
                    self._server.end()
                    return

    def _is_wanted(self) -> bool:
        return wanted_team(self._home) is not None or bool(team_leader_of(self._home))


async def _serve(home: Home, listener: sockets.socket, *, keeper_comes: bool) -> None:
    await WebProcess(home, listener, keeper_comes=keeper_comes).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mcp_entry.web", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--listener", type=int, metavar="FD", help="an open listening socket; default: one of its own")
    parser.add_argument("--detach", action="store_true", help="go on as a process without parent")
    given = parser.parse_args()
    home = home_from(os.environ)
    if given.detach and os.fork():
        os._exit(0)
    log_to(home.logs / LOG_NAME)
    lock = FileLock(home.web_lock_file)
    if not lock.acquire(_LOCK_S):
        logger.info("not started: the endpoint of %s runs already", home.root)
        return
    listener = sockets.socket(fileno=given.listener) if given.listener is not None else listen_at_kept_port(home)
    listener.set_inheritable(False)
    listener.setblocking(False)
    allow_many_files(os.getpid())
    logger.info("serves %s at port %d", home.root, listener.getsockname()[1])
    try:
        asyncio.run(_serve(home, listener, keeper_comes=given.detach))
    except PhalanxError as error:
        logger.error("ended: %s", error)  # noqa: TRY400 - in words
        sys.exit(1)
    logger.info("ended")


if __name__ == "__main__":
    main()
