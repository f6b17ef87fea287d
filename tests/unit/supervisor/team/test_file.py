from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from supervisor.team.file import TeamInfo, head_runs, read_team, reason_in, step_line, steps_in, wanted_team, write_team

TEAM = TeamInfo(
    team_id="abc",
    version="1",
    started_at="2026-01-01T00:00:00+00:00",
    head_pid=7,
    ray_address="127.0.0.1:1",
    environment={"REDIS_HOST": "127.0.0.1"},
)


def test_a_team_that_was_written_is_read_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_team(home, TEAM)

    assert read_team(home) == TEAM
    assert stat.S_IMODE(home.team_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"team_id": "x", "more": 1}'])
def test_a_torn_file_is_no_team_unless_the_agents_environment_names_one(tmp_path: Path, content: bytes) -> None:
    home = Home(tmp_path)
    home.team_file.write_bytes(content)

    assert read_team(home) is None
    home.environment_file.write_text(json.dumps({TEAM_MARK: "abc"}))
    team = read_team(home)
    assert team is not None
    assert (team.team_id, team.head_pid) == ("abc", 0)


def test_a_team_that_is_being_brought_down_is_not_wanted_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert wanted_team(home) is None
    write_team(home, TEAM)
    assert wanted_team(home) == TEAM
    write_team(home, replace(TEAM, ending=True))
    assert wanted_team(home) is None


def test_a_process_that_got_the_id_of_a_dead_head_is_not_taken_for_it() -> None:
    assert not head_runs(replace(TEAM, head_pid=os.getpid()))
    assert not head_runs(replace(TEAM, head_pid=0))
    assert not head_runs(replace(TEAM, head_pid=2**22 + 1))


_HEAD = """
import os, subprocess, sys
servers = [subprocess.Popen([program, "60"]) for program in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.readline()
servers[-1].kill()
os.waitid(os.P_PID, servers[-1].pid, os.WEXITED | os.WNOWAIT)
print("killed", flush=True)
sys.stdin.readline()
for server in servers:
    server.kill()
"""


def test_a_head_runs_only_with_both_servers_of_ray(tmp_path: Path) -> None:
    for name in ("gcs_server", "raylet"):
        (tmp_path / name).symlink_to(shutil.which("sleep") or "")
    command = [sys.executable, "-c", _HEAD, str(tmp_path / "gcs_server"), str(tmp_path / "raylet")]
    environment = {**os.environ, TEAM_MARK: TEAM.team_id}
    with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) as head:
        team = replace(TEAM, head_pid=head.pid)
        assert head.stdin is not None
        assert head.stdout is not None
        assert head.stdout.readline() == "ready\n"
        assert head_runs(team)
        print(file=head.stdin, flush=True)
        assert head.stdout.readline() == "killed\n"
        assert not head_runs(team)
        print(file=head.stdin, flush=True)


STEPS = "\n".join(step_line("18:20:25", what) for what in ("starting Ray", "starting the supervisor"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{STEPS}\ntmux is missing.\n\nInstall it.\n", "tmux is missing.\nInstall it."),
        (f"{STEPS}\n", ""),
        ("", ""),
        ("Another team is led from here.\n", "Another team is led from here."),
        (
            f"of an earlier one\n{STEPS}\n" + "".join(f"{number}\n" for number in range(30)),
            "\n".join(map(str, range(18, 30))),
        ),
    ],
)
def test_the_reason_is_what_follows_the_last_step(text: str, reason: str) -> None:
    assert reason_in(text) == reason


def test_steps_are_told_once_their_line_is_whole() -> None:
    assert steps_in(f"a warning\n{STEPS}\n- 18:20:30 waiting for") == ["starting Ray", "starting the supervisor"]
