"""A gateway on a real socket, over verbs that each test writes for itself."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from supervisor.api.requests import Request, SendRequest, WaitRequest
from supervisor.api.results import ListResult, Result, SendResult, StatusResult, WaitResult
from supervisor.api.verbs import Caller
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.team.file import RAY_SERVERS, TeamInfo, head_runs, write_team

_T = TypeVar("_T")
Answer = Callable[[Request, Caller], Awaitable[Result]]
SEND = SendRequest(instance_id="spec_1", message="hello")
SENT = SendResult(success=True, instance_id="spec_1", message_id="m1")
WAIT = WaitRequest(instance_ids=["spec_1"])
WAITED = WaitResult(reached=True, instances=[])
NOTHING = ListResult(needs_attention=[], counts={}, instances=[])
STATUS = StatusResult(
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


def gives(result: Result | Exception) -> Answer:
    """Answers at once, or raises."""

    async def answer(request: Request, caller: Caller) -> Result:
        if isinstance(result, Exception):
            raise result
        return result

    return answer


class Held:
    """An answer that waits for the test: the first call is answered when ``go_on`` is set, all others at once."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._begun, self._cancelled, self._done = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.go_on = asyncio.Event()

    @property
    def under_way(self) -> bool:
        return self._begun.is_set() and not self._cancelled.is_set() and not self._done.is_set()

    async def __call__(self, request: Request, caller: Caller) -> Result:
        caller.progress(2 if self._begun.is_set() else 1, 2, "on the way")
        if not self._begun.is_set():
            self._begun.set()
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self._cancelled.set()
                raise
            self._done.set()
        return self._result

    async def begun(self) -> None:
        await soon(self._begun.wait())

    async def cancelled(self) -> None:
        await soon(self._cancelled.wait())

    async def done(self) -> None:
        await soon(self._done.wait())


async def soon(work: Awaitable[_T], within_s: float = 5.0) -> _T:
    async with asyncio.timeout(within_s):
        return await work


class ScriptedVerbs:
    """Answers ``status``; everything else is what the test puts into ``answers``. Remembers the calls."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, Request, str]] = []

    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        self.calls.append((verb, request, caller.sender))
        if verb in self.answers:
            return await self.answers[verb](request, caller)
        return STATUS


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
    """The home has a team, whose Ray is this process with what stands for its servers."""
    servers = [home.root / name.decode() for name in sorted(RAY_SERVERS)]
    for server in servers:
        server.symlink_to(shutil.which("sleep") or "")
    script = 'for server; do "$server" 60 & done; wait'
    with subprocess.Popen(["sh", "-c", script, "sh", *servers], env={TEAM_MARK: "abc"}) as process:
        team = TeamInfo(team_id="abc", version="1", started_at="", head_pid=process.pid)
        deadline = time.monotonic() + 10
        while not head_runs(team):
            assert time.monotonic() < deadline
        below = psutil.Process(process.pid).children()
        write_team(home, team)
        yield process
        process.kill()
        for each in below:
            each.kill()
