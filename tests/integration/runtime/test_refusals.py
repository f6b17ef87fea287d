"""What keeps a team from coming up or down, told before or without anything being started. No Ray here."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from actors.errors import SettingsError, TerminalError, UnavailableError
from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import end_processes
from actors.tmux.server import TmuxServer
from supervisor.runtime import DownReport, Runtime
from supervisor.runtime.environment import check_programs
from supervisor.runtime.runtime import ignore_steps, only_one
from supervisor.settings import Settings
from supervisor.team.file import TeamInfo, write_team
from tests.integration.runtime.conftest import ROOT


@pytest.fixture
def team() -> TeamInfo:
    """Of this test alone: another one must not end its processes."""
    return TeamInfo(team_id=uuid.uuid4().hex, version="0", started_at="2026-01-01T00:00:00+00:00")


def runtime(home: Home) -> Runtime:
    return Runtime(home, Settings())


def program(
    command: str, home: Home, before: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """``python -m supervisor.runtime``, run to its end by the words ``before``."""
    words = [*before, sys.executable, "-m", "supervisor.runtime", command, "--home", str(home.root)]
    return subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=30, check=False
    )


def install(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ({"git": "echo git version 2.40"}, "tmux is missing.*Install it"),
        ({"tmux": "echo tmux 3.1c", "git": "echo git version 2.40"}, "tmux is too old: tmux 3.1c; 3.2 or newer"),
        ({"tmux": "echo tmux 3.4"}, "git is missing.*Install it"),
        ({"tmux": "echo broken >&2; exit 3", "git": "echo"}, "tmux -V fails: broken"),
    ],
)
def test_missing_or_old_programs_are_told_before_anything_is_started(
    home: Home, tmp_path: Path, programs: dict[str, str], words: str
) -> None:
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        install(tmp_path / "bin", name, script)

    with pytest.raises(SettingsError, match=words):
        runtime(home).up({"PATH": str(tmp_path / "bin")})

    assert not home.team_file.exists()


def test_a_variable_with_a_typo_is_told_before_anything_is_started(short_tmp: Path) -> None:
    home = Home(short_tmp / "h")
    with pytest.raises(SettingsError, match="Did you mean PHALANX_AGENT"):
        runtime(home).up({"PATH": os.environ["PATH"], "PHALANX_AGNET": "demo"})
    assert not home.root.exists()


@pytest.mark.parametrize("said", ["tmux 3.2", "tmux 3.3a", "tmux 10.0", "tmux next-3.6", "tmux master"])
def test_new_enough_programs_are_taken(tmp_path: Path, said: str) -> None:
    install(tmp_path / "bin", "tmux", f"echo {said}")
    install(tmp_path / "bin", "git", "echo git version 2.40")

    check_programs({"PATH": str(tmp_path / "bin")})


def test_an_unusable_home_is_told_before_anything_is_started(short_tmp: Path) -> None:
    (short_tmp / "file").touch()

    for home in (Home(short_tmp / ("x" * 60)), Home(short_tmp / "file" / "h"), Home(short_tmp)):
        with pytest.raises(SettingsError, match="PHALANX_HOME"):
            runtime(home).up(os.environ)

    assert [path.name for path in short_tmp.iterdir()] == ["file"]


def test_without_a_team_down_does_nothing_and_makes_nothing(short_tmp: Path, home: Home) -> None:
    assert runtime(Home(short_tmp / "none")).down() == DownReport(was_running=False)
    assert not (short_tmp / "none").exists()
    home.create()
    assert runtime(home).down() == DownReport(was_running=False)
    assert runtime(home).state().kind == "stopped"


def test_a_process_that_got_the_id_of_a_dead_head_is_never_touched(home: Home, team: TeamInfo) -> None:
    home.create()
    home.lock_file.touch()
    home.ray_directory.mkdir()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as foreign:
        write_team(home, replace(team, head_pid=foreign.pid, tmux_pid=foreign.pid))

        assert runtime(home).state().kind == "stopped"
        report = runtime(home).down()

        assert not report.was_running
        assert report.ended == ()
        assert foreign.poll() is None
        foreign.kill()
    assert not home.team_file.exists()
    assert not home.ray_directory.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"team_id": 1}', '{"unknown": 1}'])
def test_with_a_torn_team_file_the_agents_environment_tells_the_team(home: Home, team: TeamInfo, content: str) -> None:
    home.create()
    home.lock_file.touch()
    home.team_file.write_text(content)
    home.environment_file.write_text(json.dumps({TEAM_MARK: team.team_id}))
    with subprocess.Popen(["sleep", "60"], env={TEAM_MARK: team.team_id}) as stray:
        report = runtime(home).down()

        assert [(ended.pid, ended.name) for ended in report.ended] == [(stray.pid, "sleep")]
    assert not home.environment_file.exists()


def test_down_is_refused_to_a_process_of_the_team_itself(home: Home, team: TeamInfo) -> None:
    home.create()
    home.lock_file.touch()
    write_team(home, team)

    for before in ([], ["sh", "-c", f'env -u {TEAM_MARK} "$@"; exit $?', "sh"]):
        done = program("down", home, before, **{TEAM_MARK: team.team_id})

        assert (done.returncode, done.stdout) == (1, "")
        assert "from outside the team" in done.stderr
    assert home.team_file.exists()


def test_a_tmux_server_of_somebody_else_on_our_socket_is_left_alone(home: Home, team: TeamInfo) -> None:
    home.create()
    server = TmuxServer(home.tmux_socket)
    pid = server.start({"PATH": os.environ["PATH"]})
    try:
        with pytest.raises(TerminalError, match=f"tmux -S {home.tmux_socket} kill-server"):
            runtime(home).up(os.environ)
        write_team(home, team)
        assert not runtime(home).down().was_running
        assert server.pid() == pid
    finally:
        end_processes([psutil.Process(pid)], grace_s=0)


def test_only_one_up_or_down_at_a_time_and_the_wait_for_it_has_an_end(home: Home) -> None:
    home.create()
    steps: list[str] = []
    with home.lock_file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with (
            pytest.raises(UnavailableError, match="Another phalanx up or down"),
            only_one(home.lock_file, steps.append, 0.2),
        ):
            pytest.fail("two hold the lock")
        threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        with only_one(home.lock_file, ignore_steps, 5.0):
            pass
    assert steps == ["waiting for another phalanx up or down"]


def test_the_lock_is_not_handed_down_to_what_is_started_under_it(home: Home) -> None:
    home.create()
    with only_one(home.lock_file, ignore_steps), subprocess.Popen(["sleep", "60"]) as child:
        names = {str(link.readlink()) for link in Path(f"/proc/{child.pid}/fd").iterdir()}
        child.kill()

    assert str(home.lock_file) not in names


@pytest.mark.parametrize("command", ["up", "down"])
def test_the_program_tells_a_refusal_on_stderr_and_exits_with_1(short_tmp: Path, command: str) -> None:
    (short_tmp / "team.lock").mkdir()

    done = program(command, Home(short_tmp))

    assert (done.returncode, done.stdout) == (1, "")
    assert "PHALANX_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_keeps_a_team_from_coming_up_but_not_from_going_down(home: Home) -> None:
    home.create()
    home.config_file.write_text("max_concurrent_spawns = 0")

    up, down = program("up", home), program("down", home)

    assert (up.returncode, "1 to 100" in up.stderr) == (1, True)
    assert (down.returncode, down.stdout) == (0, "no team was running\n")
