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
from tests.conftest import claude_commands, usable
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
def claude(short_tmp: Path, claude_command: Path, api: ApiStandIn) -> Iterator[ClaudeRig]:
    """The real program, with a HOME of its own that trusts the test's directories."""
    yield from claude_rig(short_tmp, claude_command, api)


def claude_rig(short_tmp: Path, claude_command: Path, api: ApiStandIn) -> Iterator[ClaudeRig]:
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


@pytest.fixture(
    params=[
        pytest.param(None, id="demo"),
        *(
            pytest.param(command, id=f"claude-{version}", marks=pytest.mark.real_claude)
            for version, command in claude_commands().items()
        ),
    ]
)
def rig(request: pytest.FixtureRequest, short_tmp: Path, api: ApiStandIn) -> Iterator[DemoRig | ClaudeRig]:
    """Either agent, the real one in each version: what holds for the one must hold for the other."""
    if request.param is None:
        yield request.getfixturevalue("demo")
    else:
        yield from claude_rig(short_tmp, usable(request.param), api)


@pytest.fixture
async def team(rig: DemoRig | ClaudeRig, short_tmp: Path) -> AsyncIterator[Team]:
    made = Team(rig, short_tmp)
    yield made
    await made.close()
