"""A supervisor over the real host and instances in one process: real tmux, git and demo agents, no Ray."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from actors.agents.catalog import AgentCatalog
from actors.home import Home
from actors.host.host import Host
from actors.tmux.server import TmuxServer
from supervisor.api.requests import ShutdownRequest
from supervisor.api.verbs import Caller
from supervisor.build import build_supervisor
from supervisor.settings import Settings
from supervisor.store.choice import make_store
from supervisor.supervisor import Supervisor
from tests.integration.supervisor.runs import Actors, RestartableTeam
from tests.projects import make_repository, shell_environment

LEAD = Caller(sender="lead")


@pytest.fixture
def home(short_tmp: Path) -> Home:
    made = Home(short_tmp / "h")
    made.create()
    return made


@pytest.fixture
def repository(short_tmp: Path) -> Path:
    return make_repository(short_tmp / "project")


@pytest.fixture
def terminal(home: Home) -> TmuxServer:
    return TmuxServer(home.tmux_socket)


@pytest.fixture
def settings(home: Home) -> Settings:
    return Settings.load(home, environment_of(home))


def environment_of(home: Home) -> dict[str, str]:
    user = str(home.root.parent / "user")
    return shell_environment(home, HOME=user, PHALANX_AGENT="demo", PHALANX_SPAWN_TIMEOUT_S="20")


@pytest.fixture
def actors(catalog: AgentCatalog) -> Actors:
    return Actors(catalog)


@pytest.fixture
def catalog() -> AgentCatalog:
    return AgentCatalog(claude_command="no-such-claude", python=sys.executable)


@pytest.fixture
def host(home: Home, catalog: AgentCatalog, terminal: TmuxServer) -> Iterator[Host]:
    environment = environment_of(home)
    terminal.start(environment)
    yield Host(home, catalog, environment)
    terminal.stop()


@pytest.fixture
async def make_team(short_tmp: Path) -> AsyncIterator[Callable[[], RestartableTeam]]:
    """Makes teams that have no supervisor so far (``live`` gives one), each with a home and a repository of its own."""
    made: list[tuple[RestartableTeam, TmuxServer]] = []

    def make() -> RestartableTeam:
        home = Home(short_tmp / f"t{len(made)}")
        home.create()
        environment = environment_of(home)
        terminal = TmuxServer(home.tmux_socket)
        terminal.start(environment)
        made.append((RestartableTeam(home, environment, make_repository(short_tmp / f"p{len(made)}")), terminal))
        return made[-1][0]

    yield make
    for team, terminal in made:
        await team.end()
        terminal.stop()


@pytest.fixture
def team(make_team: Callable[[], RestartableTeam]) -> RestartableTeam:
    return make_team()


@pytest.fixture
async def supervisor(
    home: Home, settings: Settings, host: Host, catalog: AgentCatalog, actors: Actors
) -> AsyncIterator[Supervisor]:
    made = build_supervisor(home, settings, host, catalog, actors, make_store(home, settings))
    await made.recover()
    yield made
    await made.shutdown(ShutdownRequest(), LEAD)
    await made.close()
    for instance_id in await actors.running():
        await actors.destroy(instance_id)
