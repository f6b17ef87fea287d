"""The real Claude Code asks whether to trust a directory, and does not ask below one that was made trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.agents.claude import ClaudeAgent
from actors.agents.claude_trust import ensure_trusted
from actors.tmux.client import TmuxClient
from actors.tmux.server import TmuxServer
from tests.integration.agents.rig import ClaudeRig, path_only
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

pytestmark = [pytest.mark.real_claude, pytest.mark.each_version]


@pytest.fixture(params=["HOME", "CLAUDE_CONFIG_DIR"])
def environment(request: pytest.FixtureRequest, short_tmp: Path, api: ApiStandIn) -> dict[str, str]:
    """A Claude that keeps its configuration in the one place or the other."""
    environment = {**path_only(), **standin_environment(api.url, make_claude_home(short_tmp / "user"))}
    if request.param == "CLAUDE_CONFIG_DIR":
        (short_tmp / "config").mkdir()
        (short_tmp / "user" / ".claude.json").rename(short_tmp / "config" / ".claude.json")
        environment["CLAUDE_CONFIG_DIR"] = str(short_tmp / "config")
    return environment


@pytest.fixture
def untrusted(environment: dict[str, str], short_tmp: Path, claude_command: Path) -> Iterator[ClaudeRig]:
    server = TmuxServer(short_tmp / "tmux.sock")
    server.start({**environment, "PHALANX_HOME": str(short_tmp)})
    agent = ClaudeAgent(str(claude_command), sys.executable)
    yield ClaudeRig(agent, server, TmuxClient(short_tmp / "tmux.sock"), short_tmp)
    server.stop()


async def test_trust_in_a_parent_directory_spares_the_question(
    untrusted: ClaudeRig, environment: dict[str, str]
) -> None:
    untrusted.start()
    assert "trust" in (await untrusted.shows(lambda screen: screen.dialog)).trouble
    assert untrusted.events() == []
    untrusted.server.close_session("rig1")

    ensure_trusted(untrusted.cwd.parent, environment)
    await untrusted.ready()
