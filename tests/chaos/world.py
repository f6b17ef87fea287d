"""The surroundings of a round: a directory of its own with home, project and Redis, a guard over all of it, and a team
that was brought up by the real means.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
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

    def keep(self, output: Path) -> None:
        """Copies what explains a failure, before the home goes: logs, state, the instances' records. Blocks."""
        for directory in (self.home.logs, self.home.instances, *self.home.ray_directory.glob("session_2*/logs")):
            if directory.is_dir():
                kept = output / directory.parent.name / directory.name
                shutil.copytree(directory, kept, ignore=_no_files, copy_function=_copy_if_there, dirs_exist_ok=True)
        for path in (*self.home.root.glob("state.db*"), self.home.team_file):
            if path.exists():
                shutil.copy2(path, output / path.name)


@asynccontextmanager
async def brought_up(environment: Mapping[str, str]) -> AsyncIterator[World]:
    """A team that is up, in a shell's environment and this one; nothing of it is left after the block."""
    directory = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    home, run_id = Home(directory / "h"), uuid.uuid4().hex
    marked = shell_environment(home, **{RUN_MARK: run_id, **environment})
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


def _no_files(directory: str, names: list[str]) -> list[str]:
    """FIFOs and sockets."""
    paths = [Path(directory, name) for name in names]
    return [path.name for path in paths if not path.is_file() and not path.is_dir()]


def _copy_if_there(source: str, target: str) -> None:
    """The team is still at work: a journal, for one, goes when its last message is done."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _sessions(home: Home) -> list[str]:
    server = libtmux.Server(socket_path=str(home.tmux_socket))
    return server.cmd("list-panes", "-a", "-F", "#{session_name}").stdout
