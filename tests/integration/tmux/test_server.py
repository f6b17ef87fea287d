"""Bringing a tmux server up and down, with a real tmux."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from actors.errors import TerminalError
from actors.processes import end_processes
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import ended, hung
from tests.processes import ends, runs


def test_the_server_is_a_daemon_that_holds_nothing_of_the_caller(server: TmuxServer, home: Path) -> None:
    pid = server.pid()
    assert pid is not None
    process = psutil.Process(pid)
    assert os.getsid(pid) == pid
    assert process.cwd() == "/"
    assert process not in psutil.Process().children(recursive=True)
    assert stat.S_IMODE((home / "tmux.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "tmux.sock.conf").stat().st_mode) == 0o600
    assert {Path(f"/proc/{pid}/fd/{number}").readlink() for number in (0, 1, 2)} == {Path("/dev/null")}


async def test_the_options_are_in_force(tmux: TmuxClient) -> None:
    told = await tmux.run("show-options", "-s", ";", "show-options", "-g", ";", "show-options", "-gw")
    wanted = """\
        exit-empty off, escape-time 0, extended-keys off, set-clipboard off, destroy-unattached off,
        default-size 200x50, history-limit 5000, status on, mouse on, prefix C-b, remain-on-exit on,
        allow-rename off, update-environment"""
    lines = {line.rstrip(" '\"") for line in told.splitlines()}
    assert {option.strip() for option in wanted.split(",")} <= lines


def test_a_second_start_finds_the_server_that_runs(server: TmuxServer, home: Path) -> None:
    assert TmuxServer(home / "tmux.sock").start({}) == server.pid()


async def test_starts_at_the_same_time_give_one_server(home: Path, environment: dict[str, str]) -> None:
    servers = [TmuxServer(home / "tmux.sock") for _ in range(4)]
    try:
        pids = await asyncio.gather(*(asyncio.to_thread(server.start, environment) for server in servers))
        assert set(pids) == {servers[0].pid()}
    finally:
        servers[0].stop()


def test_a_server_starts_over_the_socket_that_a_killed_one_left(
    server: TmuxServer, environment: dict[str, str]
) -> None:
    first = server.pid()
    assert first is not None
    assert end_processes([psutil.Process(first)], grace_s=0) == []
    assert not server.is_running()
    assert server.start(environment) != first
    assert server.is_running()


async def test_the_last_session_takes_no_server_with_it(server: TmuxServer, tmux: TmuxClient, home: Path) -> None:
    server.open_session("agent", ["true", "x"], home)
    await ended(Pane(tmux, "%0"))
    server.close_session("agent")
    assert server.is_running()


def test_stop_ends_exactly_this_server(server: TmuxServer, home: Path, environment: dict[str, str]) -> None:
    other = TmuxServer(home / "other.sock")
    try:
        other_pid = other.start(environment)
        other_agent = other.open_session("agent", ["sleep", "1000"], home)
        pid, agent = server.pid(), server.open_session("agent", ["sleep", "1000"], home)
        assert pid is not None
        server.stop()
        assert not runs(pid)
        assert not server.is_running()
        assert sorted(path.name for path in home.iterdir()) == ["other.sock", "other.sock.conf"]
        assert (other.pid(), runs(other_agent.pid)) == (other_pid, True)
        assert ends(agent.pid)
    finally:
        other.stop()


def test_stop_without_a_server_does_nothing(home: Path) -> None:
    TmuxServer(home / "tmux.sock").stop()
    assert list(home.iterdir()) == []


def test_stop_ends_even_a_server_that_hangs(home: Path, environment: dict[str, str]) -> None:
    server = TmuxServer(home / "tmux.sock", timeout_s=0.5)
    server.start(environment)
    with hung(server) as pid:
        assert server.pid() == pid
        with pytest.raises(TerminalError, match=r"did not answer within 0.5 s"):
            server.open_session("agent", ["sleep", "1000"], home)
        server.stop()
    assert not runs(pid)
    assert list(home.iterdir()) == []


def test_stop_ends_a_hung_server_that_takes_no_more_callers(home: Path, environment: dict[str, str]) -> None:
    server = TmuxServer(home / "tmux.sock", timeout_s=0.5)
    server.start(environment)
    with hung(server) as pid:
        with pytest.raises(BlockingIOError):
            call_until_refused(home / "tmux.sock")
        assert server.pid() == pid
        server.stop()
    assert not runs(pid)


def test_a_missing_directory_for_the_socket_is_told(home: Path) -> None:
    with pytest.raises(TerminalError, match="must exist"):
        TmuxServer(home / "missing" / "tmux.sock").start({})


def call_until_refused(path: Path) -> None:
    with ExitStack() as callers:
        for _ in range(5000):
            caller = callers.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            caller.setblocking(False)
            caller.connect(str(path))


def test_a_server_whose_socket_was_removed_makes_it_again_and_no_second_one_is_started(
    server: TmuxServer, home: Path
) -> None:
    pid = server.pid()
    pane = server.open_session("spec_1", ["sleep", "600"], home)
    for look in (server.pid, lambda: server.start({}), lambda: server.agents()[0].pid and server.pid()):
        (home / "tmux.sock").unlink()
        assert look() == pid
    assert [agent.pid for agent in server.agents()] == [pane.pid]
    assert stat.S_IMODE((home / "tmux.sock").stat().st_mode) == 0o600
    (home / "tmux.sock").unlink()
    server.close_session("spec_1")
    assert server.agents() == ()


def test_a_server_that_hangs_without_its_socket_is_told_of_and_not_doubled(server: TmuxServer, home: Path) -> None:
    impatient = TmuxServer(home / "tmux.sock", timeout_s=0.5)
    with hung(server) as pid:
        (home / "tmux.sock").unlink()
        for ask in (impatient.pid, lambda: impatient.start({}), impatient.agents):
            with pytest.raises(TerminalError, match=f"process {pid}.*No second server is started"):
                ask()
    assert server.pid() == pid
