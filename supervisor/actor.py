"""The supervisor's Ray actor: detached, named, and with the gateway. ``boot`` creates it by ``create_supervisor``."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, ClassVar

from actors.agents.catalog import AgentCatalog
from actors.home import Home
from actors.host.actor import start_host
from actors.host.cluster import RayCluster, own_address
from actors.host.endpoint import LOG_NAME as ENDPOINT_LOG
from actors.host.endpoint import endpoint_runs
from actors.host.relay import RelayServer
from actors.instance.actor import RayInstances
from actors.ray_client import SUPERVISOR, actor_class, named_actor, on_host
from supervisor.build import build_supervisor
from supervisor.rpc.relayed import RelayedConnections
from supervisor.rpc.server import Gateway
from supervisor.settings import Settings, kept_settings
from supervisor.startup import StartupRetrier, note_in_use, unless_lost
from supervisor.store.choice import make_store
from supervisor.team.file import read_team

LOG_NAME = "supervisor.log"
_LOG_BYTES = 2_000_000
_ENDPOINT_STARTS_S = 15.0


class _SupervisorServer:
    """A supervisor with its gateway. Its constructor begins the start, because Ray calls nothing else after a crash."""

    REMOTE_PARTS: ClassVar[Mapping[str, type]] = {"relay": RelayServer}

    async def __init__(self, home_root: str) -> None:  # type: ignore[misc]  # Ray awaits it
        os.umask(0o077)
        self._home = Home(Path(home_root))
        _log_to(self._home.logs / LOG_NAME)
        self.relay = RelayedConnections(self._home.gateway_socket)
        self._startup = StartupRetrier(self._begin)
        self._startup.begin()

    async def start(self) -> int:
        """Returns the process id once the gateway answers. Raises the error of a failed start; then call it again."""
        await self._startup.done()
        return os.getpid()

    async def _begin(self) -> None:
        team = read_team(self._home)
        joined = team if team is not None and team.joined else None
        # A cluster's Ray was not started with the settings of the team that joined it.
        settings = kept_settings(self._home) or Settings.load(self._home, joined.environment if joined else os.environ)
        catalog = AgentCatalog(
            claude_command=settings.claude_command, python=sys.executable, demo_start_s=settings.demo_start_s
        )
        address = own_address() if joined else ""
        own = await start_host(self._home, catalog, address)
        cluster = RayCluster(self._home, catalog, joined.team_id) if joined else None
        supervisor = build_supervisor(
            self._home,
            settings,
            own,
            catalog,
            RayInstances(catalog, address, cluster.slots) if cluster else RayInstances(catalog),
            make_store(self._home, settings, unless_lost(self._home, own)),
            cluster,
            await _name_of(address, cluster) if cluster else "",
        )
        try:
            await supervisor.recover()
            note_in_use(self._home)
            gateway = Gateway(self._home.gateway_socket, supervisor)
            supervisor.warn_of(lambda: gateway.warning)
            supervisor.warn_of(partial(_endpoint_warning, self._home, begun=time.monotonic()))
            await gateway.start()
        except BaseException:
            await supervisor.close()
            raise
        logging.getLogger(__name__).info("the supervisor of %s is ready", self._home.root)


SupervisorActor = actor_class(_SupervisorServer)


def create_supervisor(home_root: str) -> Any:
    """The handle of the team's supervisor actor, created if there is none. In a cluster it stays on this host."""
    team = read_team(Home(Path(home_root)))
    options = on_host(own_address()) if team is not None and team.joined else {}
    return named_actor(SupervisorActor, SUPERVISOR, home_root, **options)


async def _name_of(address: str, cluster: RayCluster) -> str:
    """The name of the host with this address."""
    return next((node.name for node in await cluster.nodes() if node.address == address), address)


def _endpoint_warning(home: Home, begun: float) -> str:
    """Of this host's endpoint; it starts beside the supervisor."""
    if time.monotonic() - begun < _ENDPOINT_STARTS_S or endpoint_runs(home):
        return ""
    return (
        f"The endpoint at which instances call the team does not run, so they have no tools. It is started again by "
        f"itself; {home.logs / ENDPOINT_LOG} says why it ends."
    )


def _log_to(path: Path) -> None:
    """Logs to a file of the home, because Ray's own logs go with each Ray."""
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    logging.basicConfig(
        handlers=[handler], level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
