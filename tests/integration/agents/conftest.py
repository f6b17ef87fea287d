"""Agents in panes of a private tmux server: the demo, and the real Claude Code before the API stand-in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from actors.agents.claude import ClaudeAgent
from actors.agents.demo import DemoAgent
from actors.agents.trust import ensure_trusted
from actors.terminal.pane import Tmux
from actors.terminal.server import TerminalServer
from tests.integration.agents.rig import ClaudeRig, DemoRig, path_only
from tests.integration.agents.succession import Team
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment


@pytest.fixture(scope="module")
def api() -> Iterator[ApiStandIn]:
    with ApiStandIn() as standin:
        yield standin


@pytest.fixture
def server(short_tmp: Path) -> Iterator[TerminalServer]:
    server = TerminalServer(short_tmp / "tmux.sock")
    server.start({**path_only(), "HOME": str(short_tmp), "PHALANX_HOME": str(short_tmp)})
    yield server
    server.stop()


@pytest.fixture
def tmux(server: TerminalServer, short_tmp: Path) -> Tmux:
    return Tmux(short_tmp / "tmux.sock")


@pytest.fixture
def demo(server: TerminalServer, tmux: Tmux, short_tmp: Path) -> DemoRig:
    return DemoRig(DemoAgent(sys.executable), server, tmux, short_tmp)


@pytest.fixture
def claude(
    short_tmp: Path, claude_command: Path, api: ApiStandIn, request: pytest.FixtureRequest
) -> Iterator[ClaudeRig]:
    """The real program, with a HOME of its own that trusts the test's directories."""
    environment = {
        **path_only(),
        **standin_environment(api.url, make_claude_home(short_tmp / "user")),
        "PHALANX_HOME": str(short_tmp),
    }
    server = TerminalServer(short_tmp / "tmux.sock")
    server.start(environment)
    rig = ClaudeRig(ClaudeAgent(str(claude_command), sys.executable), server, Tmux(short_tmp / "tmux.sock"), short_tmp)
    ensure_trusted(rig.cwd.parent, environment)
    yield rig
    server.stop()


@pytest.fixture(params=["demo", pytest.param("claude", marks=pytest.mark.real_claude)])
def rig(request: pytest.FixtureRequest) -> DemoRig | ClaudeRig:
    """Either agent: what holds for the one must hold for the other."""
    found: DemoRig | ClaudeRig = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def team(rig: DemoRig | ClaudeRig, short_tmp: Path) -> AsyncIterator[Team]:
    made = Team(rig, short_tmp)
    yield made
    await made.close()
