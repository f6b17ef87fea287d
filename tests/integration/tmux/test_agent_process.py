"""What the program in a pane finds: environment, signals, standing, files, words and directory; with a real tmux."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import shown, until

REPORT = """\
import json, os, signal, sys, time
report = {
    "argv": sys.argv[2:], "environment": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "nice": os.nice(0),
    "ignores_interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    "files": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "oom_score_adj": int(open("/proc/self/oom_score_adj").read()),
}
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(report, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(1000)
"""
SET_BY_TMUX = {"TMUX", "TMUX_PANE", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "COLORTERM", "PWD"}


async def reported(server: TmuxServer, home: Path, *words: str, cwd: Path | None = None) -> dict[str, Any]:
    """What a program in a pane sees of its own process."""
    file = home / "report.json"
    file.unlink(missing_ok=True)
    argv = [sys.executable, "-c", REPORT, str(file), *words]
    info = await asyncio.to_thread(server.open_session, "reporter", argv, cwd or home)
    await until(file.exists)
    report: dict[str, Any] = json.loads(file.read_text())
    assert report["pid"] == info.pid, "the program is not the pane's own process"
    return report


@pytest.fixture
def unstarted(home: Path) -> Iterator[TmuxServer]:
    server = TmuxServer(home / "tmux.sock")
    yield server
    server.stop()


async def test_an_agent_gets_the_environment_of_start_and_nothing_else(
    unstarted: TmuxServer, home: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SECRET", "x")
    monkeypatch.setenv("TMUX", "/tmp/another,1,0")
    monkeypatch.setenv("PATH", f"/nowhere:{os.environ['PATH']}")
    given = {**environment, "TMUX": "/tmp/outer,2,0", "TMUX_PANE": "%77", "ODD": "a b\n'\"$(x);"}
    unstarted.start(given)
    seen = (await reported(unstarted, home))["environment"]
    assert {name: value for name, value in seen.items() if name not in SET_BY_TMUX} == {
        name: value for name, value in given.items() if name not in SET_BY_TMUX
    }
    assert seen["TMUX"].startswith(f"{home}/tmux.sock,")
    assert seen["TMUX_PANE"] == "%0"


async def test_an_agent_is_interruptible_whatever_the_caller_blocks(
    unstarted: TmuxServer, home: Path, environment: dict[str, str]
) -> None:
    masks: list[set[int]] = []

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        unstarted.start(environment)
        masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))

    caller = threading.Thread(target=start)
    caller.start()
    await asyncio.to_thread(caller.join)
    report = await reported(unstarted, home)
    assert masks == [{signal.SIGINT, signal.SIGTERM}], "the caller's own mask must stay"
    assert (report["blocked"], report["ignores_interrupt"]) == ([], False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process nicer to itself again")
async def test_an_agent_has_the_usual_standing_when_a_worker_without_it_starts_the_server(
    unstarted: TmuxServer, home: Path, environment: dict[str, str]
) -> None:
    program = (
        "import os, sys; from pathlib import Path; from actors.tmux.server import TmuxServer;"
        "os.nice(15); Path('/proc/self/oom_score_adj').write_text('1000');"
        "TmuxServer(Path(sys.argv[1])).start({'PATH': os.environ['PATH']})"
    )
    worker = [sys.executable, "-c", program, str(home / "tmux.sock")]
    await asyncio.to_thread(subprocess.run, worker, check=True, timeout=30, env=environment)
    report = await reported(unstarted, home)
    assert (report["nice"], report["oom_score_adj"]) == (0, 0)


async def test_an_agent_holds_no_file_of_the_caller(
    unstarted: TmuxServer, home: Path, environment: dict[str, str]
) -> None:
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        unstarted.start(environment)
    finally:
        os.close(inherited)
    report = await reported(unstarted, home)
    assert report["files"][:3] == [0, 1, 2]
    assert len(report["files"]) <= 4, "besides the terminal only the listing of the directory itself"


async def test_every_word_reaches_the_program_as_it_is(server: TmuxServer, home: Path) -> None:
    awkward = ["", "$(touch x)", "#{pid}", "ä\n中", "%0", "{ x }", "'"]
    words = ["a;", ";", "\\;", "a\\;", "a\\\\;", ";;", "-t", "--", *awkward]
    assert (await reported(server, home, *words))["argv"] == words


@pytest.mark.parametrize("name", ["a b;", "a#{pid}", "#(touch pwned)", "#[fg=red]", "a##b", "x\ny", "-x", "ä"])
async def test_an_agent_works_in_its_directory_whatever_the_name(server: TmuxServer, home: Path, name: str) -> None:
    directory = home / name
    directory.mkdir()
    assert (await reported(server, home, cwd=directory))["cwd"] == str(directory)
    assert not (directory / "pwned").exists()


async def test_a_program_given_as_one_word_is_not_read_by_a_shell(
    server: TmuxServer, tmux: TmuxClient, home: Path
) -> None:
    program = home / "one word; echo $HOME"
    program.write_text(f"#!{sys.executable}\nimport time\nprint('started', flush=True)\ntime.sleep(1000)\n")
    program.chmod(0o700)
    info = server.open_session("agent", [str(program)], home)
    await shown(Pane(tmux, info.pane_id), "started")
    assert psutil.Process(info.pid).cmdline() == [sys.executable, str(program)]
