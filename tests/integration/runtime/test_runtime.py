"""Real teams: Ray, tmux and a stand-in for the supervisor. A bring-up costs seconds, so each test looks at much."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from actors.errors import UnavailableError
from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import end_processes, is_running, name_of, processes_with
from actors.tmux.server import TmuxServer
from supervisor.runtime import DownReport, Runtime, TeamAddress
from supervisor.settings import Settings
from supervisor.startup import note_in_use
from supervisor.team.file import TeamInfo
from tests.integration.runtime.conftest import ROOT, STANDIN, eventually, team_of
from tests.processes import command_of, environment_of, of_team, session_of

pytestmark = pytest.mark.timeout(180)
LEFT = {"phalanx-home", "team.lock", "logs", "instances", "worktrees", "metrics-token"}
"""Of a home, when its team is down."""


def runtime(home: Home, function: str = "create_supervisor") -> Runtime:
    return Runtime(home, Settings(env={"TEAM_WIDE": "yes"}), f"{STANDIN}:{function}")


def caller_environment() -> dict[str, str]:
    of_others = {
        "RAY_ADDRESS": "192.0.2.1:6379",
        "REDIS_HOST": "192.0.2.1",
        "TMUX": "/tmp/tmux-0/default,1,0",
        "CLAUDECODE": "1",
        "CLAUDE_CODE_CHILD_SESSION": "1",
        "PHALANX_HOME": "/elsewhere",
        "http_proxy": "http://192.0.2.1:1",
    }
    return {**os.environ, **of_others, "ANTHROPIC_API_KEY": "sk-secret", "CLAUDE_CONFIG_DIR": "/c"}


def gone(processes: list[psutil.Process]) -> bool:
    return not any(is_running(process) for process in processes)


def stray_of(home: Home) -> psutil.Process:
    """A daemon that an agent leaves behind: out of its pane, session and parents, and deaf to a hang-up."""
    script = "setsid nohup sleep 613 >/dev/null 2>&1 & sleep 614"
    TmuxServer(home.tmux_socket).open_session("agent", ["sh", "-c", script], home.root)
    assert eventually(lambda: any(command_of(each) == ["sleep", "613"] for each in of_team(home)))
    return next(each for each in of_team(home) if command_of(each) == ["sleep", "613"])


def test_two_calls_bring_up_one_team_which_is_private_and_goes_down_without_a_trace(
    home: Home, bystander: subprocess.Popen[bytes]
) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        first, second = bring_up_twice(home)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert sorted([first.already_running, second.already_running]) == [False, True]
    assert first.team_id == second.team_id
    assert runtime(home).state().kind == "running"
    team = team_of(home)
    running = of_team(home)

    check_privacy(home, running)
    check_ray(home, team, running)
    check_agents(home, team)
    stray = stray_of(home)
    note_in_use(home)
    (home.worktrees / "work").touch()
    begun = time.monotonic()
    report = runtime(home).down()

    assert time.monotonic() - begun < 10
    assert gone([*running, stray])
    assert processes_with(TEAM_MARK, team.team_id) == []
    assert {process.pid for process in [*running, stray]} <= {ended.pid for ended in report.ended}
    assert bystander.poll() is None
    assert {path.name for path in home.root.iterdir()} == LEFT
    assert (home.worktrees / "work").exists()
    assert runtime(home).state().kind == "stopped"
    assert runtime(home).down() == DownReport(was_running=False)


def test_down_lets_a_new_team_begin_also_when_all_else_of_the_lost_one_is_gone(home: Home) -> None:
    home.create()
    home.lock_file.touch()
    note_in_use(home)

    assert runtime(home).down() == DownReport(was_running=False)
    assert not home.in_use_file.exists()


def bring_up_twice(home: Home) -> tuple[TeamAddress, TeamAddress]:
    """At the same time, from two processes' point of view: the lock is held by open file, not by process."""
    steps: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        one, other = [pool.submit(runtime(home).up, caller_environment(), steps.append) for _ in range(2)]
        pair = one.result(), other.result()
    assert "waiting for another phalanx up or down" in steps
    return pair


def check_privacy(home: Home, running: list[psutil.Process]) -> None:
    wrong = []
    for path in (home.root, *home.root.rglob("*")):
        if path.is_symlink():
            continue
        with suppress(FileNotFoundError):  # a Ray at work makes and removes files
            mode = stat.S_IMODE(path.stat().st_mode)
            of_ray = home.ray_directory in (path, *path.parents)  # its directories are open, behind a private one
            if (mode & 0o077 and not path.is_dir()) if of_ray else mode != (0o700 if path.is_dir() else 0o600):
                wrong.append((str(path.relative_to(home.root)), oct(mode)))
    assert wrong == []
    assert all(path.exists() for path in (home.lock_file, home.team_file, home.environment_file, home.ray_token_file))
    for process in running:
        with suppress(psutil.NoSuchProcess):  # an idle worker of Ray may end at any time
            for listening in process.net_connections("inet"):
                local = listening.laddr.ip.removeprefix("::ffff:")
                assert local == "127.0.0.1", (name_of(process), listening)


def check_ray(home: Home, team: TeamInfo, running: list[psutil.Process]) -> None:
    in_ray = [process for process in running if session_of(process) == team.head_pid]
    environments = [seen for process in in_ray if (seen := environment_of(process))]
    assert len(environments) >= 6
    for environment in environments:
        assert environment["PHALANX_HOME"] == str(home.root)
        assert not {"ANTHROPIC_API_KEY", "RAY_ADDRESS", "http_proxy", "TMUX"} & set(environment)
    head = psutil.Process(team.head_pid)
    assert head.cwd() == "/"
    assert blocked_signals(head.pid) == 0


def check_agents(home: Home, team: TeamInfo) -> None:
    server = psutil.Process(TmuxServer(home.tmux_socket).pid())
    assert team.tmux_pid == server.pid
    assert blocked_signals(server.pid) == 0
    environment = server.environ()
    assert json.loads(home.environment_file.read_text()) == environment
    assert environment["ANTHROPIC_API_KEY"] == "sk-secret"
    assert environment["CLAUDE_CONFIG_DIR"] == "/c"
    assert environment["TEAM_WIDE"] == "yes"
    foreign = ("RAY_", "REDIS_", "TMUX", "CLAUDECODE", "CLAUDE_CODE_CHILD", "PHALANX_HOME")
    assert [name for name in environment if name.startswith(foreign)] == []
    token = home.ray_token_file.read_text()
    assert token not in json.dumps(environment)


def blocked_signals(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk")]
    return int(line.split()[1], 16)


def test_homes_do_not_touch_each_other_and_one_without_head_and_tmux_server_goes_down_whole(
    make_home: Callable[[str], Home],
) -> None:
    left, right = make_home("left"), make_home("right")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda home: runtime(home).up(caller_environment()), [left, right]))
    assert team_of(left).ray_address != team_of(right).ray_address
    before = of_team(right)

    runtime(left).down()

    assert runtime(right).state().kind == "running"
    assert [process for process in before if not is_running(process)] == []

    team = team_of(right)
    everything = [*of_team(right), stray_of(right)]
    assert end_processes([psutil.Process(team.head_pid), psutil.Process(team.tmux_pid)], grace_s=0) == []
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda home: runtime(home).down(), [right, right]))

    assert sorted(report.was_running for report in reports) == [False, True]
    assert gone(everything)
    assert processes_with(TEAM_MARK, team.team_id) == []


def test_when_the_supervisor_does_not_start_everything_is_undone_and_the_reason_told(home: Home) -> None:
    ids: list[str] = []

    def on_step(step: str) -> None:
        if step == "starting the supervisor":
            ids.append(team_of(home).team_id)

    with pytest.raises(UnavailableError, match=r"LookupError: there is no store\nThe log is .*boot\.log"):
        runtime(home, "create_failing").up(caller_environment(), on_step)

    assert len(ids) == 1
    assert processes_with(TEAM_MARK, ids[0]) == []
    assert {path.name for path in home.root.iterdir()} == LEFT


def test_a_bring_up_that_is_told_to_end_undoes_what_it_began(home: Home) -> None:
    command = [sys.executable, "-m", "supervisor.runtime", "up", "--home", str(home.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        said = [up.stdout.readline() for _ in range(2)]
        team = team_of(home)
        begun = of_team(home)
        up.terminate()
        assert up.wait(timeout=20) == 143

    assert [line.rstrip().split(" ", 2)[2] for line in said] == ["starting Ray", "starting the tmux server"]
    assert begun
    assert gone(begun)
    assert processes_with(TEAM_MARK, team.team_id) == []
    assert not home.team_file.exists()
