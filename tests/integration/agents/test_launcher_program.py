"""The launcher as the pane's own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.agents.base import Launch
from actors.agents.launch import write_launch

REPORT = (
    "import json, os, signal, sys;"
    "blocked = [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])];"
    "status = dict(l.split(':\\t') for l in open('/proc/self/status').read().splitlines() if ':\\t' in l);"
    "print(json.dumps({'argv': sys.argv[1:], 'cwd': os.getcwd(), 'blocked': blocked, 'pid': os.getpid(),"
    " 'ignored': int(status['SigIgn'], 16), 'environment': dict(os.environ)}))"
)


def launched(directory: Path, argv: tuple[str, ...], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    launch = Launch(argv=argv, environment=environment, files={})
    command = write_launch(directory / "i", launch, cwd, python=sys.executable)
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_the_agent_takes_the_launchers_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_USE_BEDROCK", "TMUX"):
        monkeypatch.setenv(name, "ours")
    (tmp_path / "a b").mkdir()
    argv = (sys.executable, "-c", REPORT, "--x", "$(touch no)", "日本\n")
    report = json.loads(launched(tmp_path, argv, tmp_path / "a b", KEY="se'cret").stdout)

    assert report["argv"] == ["--x", "$(touch no)", "日本\n"]
    assert report["cwd"] == str(tmp_path / "a b")
    assert report["environment"]["KEY"] == "se'cret"
    assert report["environment"]["PATH"] == os.environ["PATH"]
    assert report["environment"]["CLAUDE_CODE_USE_BEDROCK"] == "ours"
    assert not {"CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "TMUX"} & report["environment"].keys()


def test_the_agent_neither_blocks_nor_ignores_a_signal(tmp_path: Path) -> None:
    launch = Launch(argv=(sys.executable, "-S", "-c", REPORT), environment={}, files={})
    command = write_launch(tmp_path / "i", launch, tmp_path, python=sys.executable)
    blocked = {signal.SIGINT, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, restore_signals=False)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    report = json.loads(ended.stdout)

    assert report["blocked"] == []
    # The reporting Python itself ignores these two.
    own = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert report["ignored"] & ~own == 0


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("no-such-agent", 127, "cannot start 'no-such-agent': not found on the PATH"),
        ("/no/such/agent", 127, "cannot start '/no/such/agent': no such file"),
        ("/etc/passwd", 126, "cannot start '/etc/passwd'"),
    ],
)
def test_an_agent_that_cannot_be_started_is_explained_in_the_pane(
    tmp_path: Path, program: str, status: int, words: str
) -> None:
    ended = launched(tmp_path, (program,), tmp_path, PATH="/nowhere")

    assert ended.returncode == status
    assert ended.stdout.startswith(f"phalanx: {words}")
    assert ended.stderr == ""


def test_a_working_directory_that_is_gone_is_explained_in_the_pane(tmp_path: Path) -> None:
    ended = launched(tmp_path, ("true",), tmp_path / "gone")

    assert ended.returncode == 126
    assert str(tmp_path / "gone") in ended.stdout


@pytest.mark.parametrize("name", ["", "A=B"])
def test_an_environment_that_no_process_can_have_is_explained_in_the_pane(tmp_path: Path, name: str) -> None:
    ended = launched(tmp_path, ("true",), tmp_path, **{name: "value"})

    assert ended.returncode == 126
    assert ended.stdout.startswith("phalanx: cannot start 'true'")


def test_no_agent_starts_where_a_link_has_come_in_the_place_of_its_directory(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    elsewhere.mkdir()
    directory.symlink_to(elsewhere)
    ended = launched(tmp_path, (sys.executable, "-c", "print('started')"), directory)

    assert ended.returncode == 126
    assert ended.stdout == f"phalanx: cannot start '{sys.executable}' in {directory}: it leads to {elsewhere} now\n"
