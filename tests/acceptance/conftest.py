"""One team of demo agents and one of real Claude Code instances, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from mcp_entry.connection import TeamConnection as EntryTeam
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.bringing import OwnedBringUp
from tests.acceptance.team import Team, bring_up
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment


@pytest.fixture(scope="module")
def demo_team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    directory = make_short_tmp()
    team = bring_up(directory, PHALANX_AGENT="demo", PHALANX_ALLOWED_WORK_DIRS=str(directory))
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture(scope="module")
def api() -> Iterator[ApiStandIn]:
    with ApiStandIn() as standin:
        yield standin


@pytest.fixture(scope="module")
def claude_team(make_short_tmp: Callable[[], Path], claude_command: Path, api: ApiStandIn) -> Iterator[Team]:
    directory = make_short_tmp()
    environment = standin_environment(api.url, make_claude_home(directory / "user"))
    team = bring_up(directory, PHALANX_CLAUDE_COMMAND=str(claude_command), **environment)
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def demo(demo_team: Team) -> AsyncIterator[SupervisorClient]:
    async with await demo_team.connect() as client:
        yield client


@pytest.fixture
async def claude(claude_team: Team) -> AsyncIterator[SupervisorClient]:
    async with await claude_team.connect() as client:
        yield client


@pytest.fixture
async def client(team: Team) -> AsyncIterator[SupervisorClient]:
    """Of the module's own ``team``."""
    async with await team.connect() as client:
        yield client


@pytest.fixture
def bring(team: Team) -> Iterator[OwnedBringUp]:
    """Brings up the module's own ``team``."""
    made = OwnedBringUp(home=team.home, environment=team.environment)
    yield made
    made.end()


@pytest.fixture
async def entry(team: Team, bring: OwnedBringUp) -> AsyncIterator[EntryTeam]:
    """An entry's way to the module's own ``team``."""
    made = EntryTeam(SupervisorClient(team.home, "lead"), bring, patience_s=60.0, bring_back=bring.bring_back)
    yield made
    await made.close()
