"""A real tmux server per test, on a socket of its own below a short path; nothing is left of it afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane, PaneState
from actors.tmux.server import TmuxServer

READER = Path(__file__).with_name("raw_reader.py")
PASTE_BEGIN, PASTE_END = b"\x1b[200~", b"\x1b[201~"


@pytest.fixture
def home(short_tmp: Path) -> Path:
    return short_tmp


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PHALANX_HOME": str(home), "LANG": "C.UTF-8", "SHELL": "/bin/sh"}


@pytest.fixture
def server(home: Path, environment: dict[str, str]) -> Iterator[TmuxServer]:
    server = TmuxServer(home / "tmux.sock")
    try:
        server.start(environment)
        yield server
    finally:
        server.stop()


CallTmux = Callable[[Path, float], TmuxClient]


@pytest.fixture(params=["socket", "program"])
def call_tmux(request: pytest.FixtureRequest) -> CallTmux:
    """Either way of calling tmux: what holds for the one must hold for the other."""

    def made(socket: Path, timeout_s: float) -> TmuxClient:
        tmux = TmuxClient(socket, timeout_s)
        if request.param == "program":
            tmux.call_the_program("this test wants it")
        return tmux

    return made


@pytest.fixture
def tmux(server: TmuxServer, home: Path, call_tmux: CallTmux) -> TmuxClient:
    return call_tmux(home / "tmux.sock", 10.0)


Run = Callable[[str], Pane]


@pytest.fixture
def run(server: TmuxServer, tmux: TmuxClient, home: Path) -> Run:
    """Runs a program of the shell in the session ``agent``."""
    return lambda program: Pane(tmux, server.open_session("agent", ["sh", "-c", program], home).pane_id)


@contextmanager
def hung(server: TmuxServer) -> Iterator[int]:
    """Inside, the server answers nothing. Gives its process id."""
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Reader:
    """A pane whose program writes down every byte it reads."""

    def __init__(self, server: TmuxServer, tmux: TmuxClient, name: str, home: Path) -> None:
        self._file = home / f"{name}.received"
        self.info = server.open_session(name, [sys.executable, str(READER), str(self._file)], home)
        self.pane = Pane(tmux, self.info.pane_id)

    async def ready(self) -> Reader:
        await until(self._file.exists)
        return self

    def received(self) -> bytes:
        return self._file.read_bytes()

    async def pasted(self) -> bytes:
        """The bytes between the paste brackets, once the closing one is there."""
        await until(lambda: self.received().endswith(PASTE_END), 30)
        return self.received().removeprefix(PASTE_BEGIN).removesuffix(PASTE_END)


OpenReader = Callable[[str], Reader]


@pytest.fixture
def open_reader(server: TmuxServer, tmux: TmuxClient, home: Path) -> OpenReader:
    return lambda name: Reader(server, tmux, name, home)


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def shown(pane: Pane, text: str, timeout_s: float = 10) -> str:
    """The screen, once it shows ``text``."""
    deadline = time.monotonic() + timeout_s
    while text not in (screen := await pane.capture()):
        assert time.monotonic() < deadline, f"{text!r} did not appear in time on {screen!r}"
        await asyncio.sleep(0.01)
    return screen


async def ended(pane: Pane, timeout_s: float = 10) -> PaneState:
    """The state of the pane, once its program has ended and its status is known."""
    deadline = time.monotonic() + timeout_s
    while not (state := await pane.state()).dead or state.exit_status is None:
        assert time.monotonic() < deadline, "the program did not end in time"
        await asyncio.sleep(0.01)
    return state
