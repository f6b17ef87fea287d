"""Agents in panes of a private tmux server: the demo, and the real Claude Code before the API stand-in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.agents.claude import ClaudeAgent
from actors.agents.claude_trust import ensure_trusted
from actors.agents.demo.agent import DemoAgent
from actors.tmux.client import TmuxClient
from actors.tmux.server import TmuxServer
from tests.integration.agents.rig import ClaudeRig, DemoRig, path_only
from tests.integration.agents.succession import Team
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment
from tests.standin.claude_versions import CLAUDE_COMMANDS, installed_claude


@pytest.fixture(scope="module")
def api() -> Iterator[ApiStandIn]:
    with ApiStandIn() as standin:
        yield standin


@pytest.fixture
def server(short_tmp: Path) -> Iterator[TmuxServer]:
    server = TmuxServer(short_tmp / "tmux.sock")
    server.start({**path_only(), "HOME": str(short_tmp), "PHALANX_HOME": str(short_tmp)})
    yield server
    server.stop()


@pytest.fixture
def tmux(server: TmuxServer, short_tmp: Path) -> TmuxClient:
    return TmuxClient(short_tmp / "tmux.sock")


@pytest.fixture
def demo(server: TmuxServer, tmux: TmuxClient, short_tmp: Path) -> DemoRig:
    return DemoRig(DemoAgent(sys.executable), server, tmux, short_tmp)


@pytest.fixture
def claude(short_tmp: Path, claude_command: Path, api: ApiStandIn) -> Iterator[ClaudeRig]:
    """The real program, with a HOME of its own that trusts the test's directories."""
    with _claude_rig(short_tmp, claude_command, api) as rig:
        yield rig


@contextmanager
def _claude_rig(directory: Path, command: Path, api: ApiStandIn) -> Iterator[ClaudeRig]:
    environment = {
        **path_only(),
        **standin_environment(api.url, make_claude_home(directory / "user")),
        "PHALANX_HOME": str(directory),
    }
    server = TmuxServer(directory / "tmux.sock")
    server.start(environment)
    rig = ClaudeRig(ClaudeAgent(str(command), sys.executable), server, TmuxClient(directory / "tmux.sock"), directory)
    ensure_trusted(rig.cwd.parent, environment)
    try:
        yield rig
    finally:
        server.stop()


@pytest.fixture(params=["demo", *(pytest.param(name, marks=pytest.mark.real_claude) for name in CLAUDE_COMMANDS)])
def rig(request: pytest.FixtureRequest, short_tmp: Path, api: ApiStandIn) -> Iterator[DemoRig | ClaudeRig]:
    """Each agent, the real one in each version: what holds for the one must hold for the other."""
    if request.param == "demo":
        yield request.getfixturevalue("demo")
    else:
        with _claude_rig(short_tmp, installed_claude(request.param), api) as made:
            yield made


@pytest.fixture
async def team(rig: DemoRig | ClaudeRig, short_tmp: Path) -> AsyncIterator[Team]:
    made = Team(rig, short_tmp)
    yield made
    await made.close()
