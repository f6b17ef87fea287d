"""The Ray actor of a host, detached and named, and ``HostProxy``, through which the supervisor calls it.

On this machine ``HostProxy`` makes git calls through a private socket, otherwise through Ray. When an answer is lost,
either way, a read is repeated; the outcome of a write is unknown.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from actors.agents.catalog import AgentCatalog
from actors.errors import PhalanxError, SettingsError, UnavailableError
from actors.git.local import GitCallNotSentError, GitClient, GitServer
from actors.git.model import READ_S, WRITE_S, GitRequest, GitResponse
from actors.home import Home, TeamIdentity, prepare_home, read_environment
from actors.host import notice
from actors.host.endpoint import TeamEndpoint
from actors.host.host import Host
from actors.host.relay import Relay, connect_through_ray
from actors.marks import UMASK_MARK
from actors.ray_client import ActorAwayError, ActorProxy, actor_class, make_actor, meet, on_host
from actors.remote import remote_call
from actors.versions import ACTOR_PROTOCOL, check_protocol

logger = logging.getLogger(__name__)

START_S = 60.0
_NAME = "host"
"""In Ray, of the host actor of the supervisor's machine."""
_FALLBACK_VARIABLES = ("HOME", "PATH", "LANG")
"""From the actor's own environment: enough for reading and for git."""


async def start_host(home: Home, catalog: AgentCatalog, address: str = "") -> Host:
    """The host actor of this machine; returns when it answers. ``address``: the machine's, in a cluster."""
    options = on_host(address) if address else {}
    actor = await make_actor(HostActor, _NAME, str(home.root), catalog, **options)
    await meet(actor, "The host actor", START_S)
    return cast("Host", HostProxy(actor, GitClient(home.git_socket)))


async def start_other_host(name: str, address: str, home: Home, catalog: AgentCatalog, leader: TeamIdentity) -> Host:
    """``start_host`` for another machine of the cluster."""
    actor = await make_actor(HostActor, name, str(home.root), catalog, leader, **on_host(address))
    await meet(actor, f"The host actor of {address}", START_S)
    return cast("Host", HostProxy(actor))


class HostProxy(ActorProxy):
    """Calls a ``HostActor``."""

    def __init__(self, actor: Any, git_socket: GitClient | None = None) -> None:
        """``git_socket``: given when the host is this machine."""
        super().__init__(actor, Host, "The host", _NAME if git_socket is not None else "")
        self._name = ""
        self._git_socket = git_socket

    async def name(self) -> str:
        """Asked once, because it does not change."""
        self._name = self._name or str(await self._ask(remote_call(Host, "name"), "name"))
        return self._name

    async def release(self) -> None:
        await self._ask(remote_call(Host, "release"), "release")
        if self._git_socket is not None:
            self._git_socket.close()

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        call = remote_call(Host, "git_read")
        call = replace(call, timeout_s=call.timeout_s + READ_S * len(asked))
        with suppress(GitCallNotSentError, ConnectionError):
            return tuple(await self._through_socket("read", asked, call.timeout_s))
        return tuple(await self._ask(call, "git_read", asked))

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        try:
            with suppress(GitCallNotSentError):
                return tuple(await self._through_socket("write", asked, WRITE_S))
        except ConnectionError as error:
            raise ActorAwayError("The host is not running now: try again.") from error
        return tuple(await self._ask(remote_call(Host, "git_write"), "git_write", asked))

    async def _through_socket(self, what: str, asked: Sequence[GitRequest], limit_s: float) -> list[Any]:
        """Raises ``GitCallNotSentError`` and ``ConnectionError``."""
        if self._git_socket is None:
            raise GitCallNotSentError
        try:
            async with asyncio.timeout(limit_s):
                return list(await self._git_socket.call(what, asked))
        except TimeoutError:
            raise UnavailableError(f"The host did not answer within {limit_s:.0f} s: try again.") from None


class _HostServer(Host):
    """Reads the agents' environment on its own machine, because it may hold secrets and must not pass through Ray.

    Without it the actor starts all the same and only cannot start agents. If it failed, Ray would restart it for ever,
    and no caller would learn why.
    """

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, home_root: str, catalog: AgentCatalog, leader: TeamIdentity | None = None
    ) -> None:
        """``leader``: the team, if its supervisor is on another machine."""
        home = Home(Path(home_root))
        if leader is not None:
            prepare_home(home, leader)
        self._team_endpoint = TeamEndpoint(home)
        self._begin: Callable[[Mapping[str, str]], None] = partial(
            super().__init__, home, catalog, endpoint=self._team_endpoint
        )
        if UMASK_MARK in os.environ:
            os.umask(int(os.environ[UMASK_MARK], 8))
        self._lacks_environment = False
        try:
            self._begin(read_environment(home))
        except SettingsError as error:
            logger.error("%s", error)  # noqa: TRY400 - in words
            self._lacks_environment = True
            self._begin({name: os.environ[name] for name in _FALLBACK_VARIABLES if name in os.environ})
        self._relay = None if leader is None else await _start_relay(home, leader.address)
        self._team_endpoint.begin()
        self._git_server = GitServer(home.git_socket, {"read": self.git_read, "write": self.git_write})
        if leader is None:
            await asyncio.to_thread(notice.end_left_behind, home.root)
            await _start_git(self._git_server)

    async def meet(self, protocol: int) -> None:
        """Raises ``VersionError`` for a supervisor of another protocol."""
        check_protocol(protocol, "this host", "the supervisor", ACTOR_PROTOCOL)

    async def release(self) -> None:
        """Also ends endpoint and relay: then this machine belongs to no team."""
        await super().release()
        await self._team_endpoint.end()
        await self._git_server.stop()
        if self._relay is not None:
            self._home.leader_file.unlink(missing_ok=True)
            await self._relay.stop()

    def _require_environment(self) -> None:
        """Reads the environment if it was missing. Raises ``SettingsError`` when it still is."""
        if self._lacks_environment:
            self._begin(read_environment(self._home))
            self._lacks_environment = False


async def _start_relay(home: Home, head: str) -> Relay:
    """If it cannot start, agents run without it."""
    relay = Relay(home.gateway_socket, partial(connect_through_ray, head))
    try:
        await relay.start()
    except PhalanxError as error:
        logger.error("clients on this host cannot reach the team: %s", error)  # noqa: TRY400 - in words
    return relay


async def _start_git(server: GitServer) -> None:
    """If it cannot start, git is called through Ray."""
    try:
        await server.start()
    except SettingsError as error:
        logger.error("git has no socket of its own: %s", error)  # noqa: TRY400 - in words


HostActor = actor_class(_HostServer)
