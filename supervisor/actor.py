"""The door of the supervisor: its detached, named Ray actor with the gateway, and how it is put together."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from actors.actor import RayInstances
from actors.agents.catalog import AgentCatalog
from actors.calls import actor_class, named_actor
from actors.home import Home
from actors.host_actor import start_host
from supervisor.assembly import build_supervisor
from supervisor.beginning import unless_agents_live
from supervisor.gateway import Gateway
from supervisor.own_start import OwnStart
from supervisor.permits import Permits
from supervisor.pool.stock import ActorStock
from supervisor.ports import HostPort
from supervisor.settings import Settings, kept_settings
from supervisor.staff import Staff
from supervisor.store.opening import make_store

LOG_NAME = "supervisor.log"
_LOG_BYTES = 2_000_000


class _SupervisorServer:
    """A supervisor with its gateway. It starts by itself, so that one that Ray starts again after a crash is back
    without anybody's help."""

    async def __init__(self, home_root: str) -> None:  # type: ignore[misc]  # Ray awaits it
        os.umask(0o077)
        self._home = Home(Path(home_root))
        _keep_log(self._home.logs / LOG_NAME)
        self._own_start = OwnStart(self._begin)
        self._own_start.begin()

    async def start(self) -> int:
        """Returns the process id once the gateway answers. Raises why it does not; the next call tries again."""
        await self._own_start.done()
        return os.getpid()

    async def _begin(self) -> None:
        settings = kept_settings(self._home) or Settings.load(self._home, os.environ)
        catalog = AgentCatalog(
            claude_command=settings.claude_command, python=sys.executable, demo_start_s=settings.demo_start_s
        )
        host: HostPort = await start_host(self._home, catalog)
        factory, permits = RayInstances(catalog), Permits(settings.max_concurrent_spawns)
        stock = ActorStock(factory, permits, settings.spare_actors)
        staff = Staff(host=host, factory=factory, permits=permits, stock=stock)
        store = make_store(self._home, settings, unless_agents_live(self._home, host))
        supervisor = build_supervisor(self._home, settings, staff, store)
        try:
            await supervisor.recover()
            await Gateway(self._home.gateway_socket, supervisor).start()
        except BaseException:
            await supervisor.close()
            raise
        logging.getLogger(__name__).info("the supervisor of %s is ready", self._home.root)


def _keep_log(path: Path) -> None:
    """In the home, because Ray's own logs go with each Ray."""
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    logging.basicConfig(
        handlers=[handler], level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )


SupervisorActor = actor_class(_SupervisorServer)


def create_supervisor(home_root: str) -> Any:
    """The handle of the team's supervisor actor, made if there is none yet."""
    return named_actor(SupervisorActor, "supervisor", home_root)
