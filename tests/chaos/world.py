"""The surroundings of a round: a directory of its own with home, project and Redis, a guard over all of it, and a team
that was brought up by the real means.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import libtmux
from mcp.client.stdio import StdioServerParameters

from actors.home import Home
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from tests.chaos.guard import guarded
from tests.chaos.redis import RedisServer
from tests.chaos.survey import CLIENT_MARK, RUN_MARK, Found, survey
from tests.projects import make_repository, shell_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``environment`` is what a person's shell would give ``phalanx up``."""

    run_id: str
    home: Home
    repository: Path
    redis: RedisServer
    environment: Mapping[str, str]

    def entry(self, client: str) -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable,
            args=["-m", "mcp_entry"],
            env={**self.environment, CLIENT_MARK: client},
            cwd=Path(__file__).resolve().parents[2],
        )

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.home, Settings.load(self.home, self.environment))

    async def survey(self) -> list[Found]:
        return await asyncio.to_thread(survey, self.home, self.run_id)

    async def sessions(self) -> list[str]:
        """The name of the session of every pane on the team's tmux server."""
        return await asyncio.to_thread(_sessions, self.home)


@asynccontextmanager
async def brought_up(**environment: str) -> AsyncIterator[World]:
    """A team that is up; gone after the block, with its directory and all its processes, however the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    home, run_id = Home(directory / "h"), uuid.uuid4().hex
    marked = shell_environment(home, **{RUN_MARK: run_id, "PHALANX_AGENT": "demo", **environment})
    with guarded(run_id, home, directory), RedisServer(directory / "redis", marked) as redis:
        world = World(
            run_id=run_id,
            home=home,
            repository=make_repository(directory / "project"),
            redis=redis,
            environment={**marked, "REDIS_URL": redis.url},
        )
        await asyncio.to_thread(world.runtime.up, world.environment)
        yield world


def _sessions(home: Home) -> list[str]:
    server = libtmux.Server(socket_path=str(home.tmux_socket))
    return server.cmd("list-panes", "-a", "-F", "#{session_name}").stdout
