"""A gateway on a real socket, over verbs that each test writes for itself."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from supervisor.api.requests import Request
from supervisor.api.results import Result, StatusResult
from supervisor.api.verbs import Caller
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.team.file import TeamInfo, write_team

Answer = Callable[[Request, Caller], Awaitable[Result]]


def status_result() -> StatusResult:
    return StatusResult(
        home="/h",
        version="1",
        supervisor_pid=1,
        started_at="now",
        store="memory",
        counts={},
        spawns_running=0,
        spawns_waiting=0,
        max_concurrent_spawns=5,
    )


class ScriptedVerbs:
    """Answers ``status``; everything else is what the test puts into ``answers``. Remembers the calls."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, Request, str]] = []

    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        self.calls.append((verb, request, caller.sender))
        if verb in self.answers:
            return await self.answers[verb](request, caller)
        return status_result()


@pytest.fixture
def home(short_tmp: Path) -> Home:
    home = Home(short_tmp / "h")
    home.create()
    return home


@pytest.fixture
def verbs() -> ScriptedVerbs:
    return ScriptedVerbs()


@pytest.fixture
async def gateway(home: Home, verbs: ScriptedVerbs) -> AsyncIterator[Gateway]:
    gateway = Gateway(home.gateway_socket, verbs)
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
async def client(home: Home, gateway: Gateway) -> AsyncIterator[SupervisorClient]:
    async with await SupervisorClient.connect(home, "tester") as client:
        yield client


@pytest.fixture
def head(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """The home has a team, whose Ray is this process."""
    with subprocess.Popen(["sleep", "60"], env={TEAM_MARK: "abc"}) as process:
        write_team(home, TeamInfo(team_id="abc", version="1", started_at="", head_pid=process.pid))
        yield process
        process.kill()
