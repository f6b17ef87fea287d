"""What the start of a worker does without a server, and what keeps a server from forking."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import supervisor.ray_processes
from supervisor.ray_processes.worker import DIRECTORY, PROGRAM_NAME

PROGRAM = Path(supervisor.ray_processes.__file__).parent.parent / PROGRAM_NAME
_LIMIT_S = 60.0
_CHECK = """
import os, threading, ray
from supervisor.ray_processes import fork_server
{before}
try:
    fork_server._check_may_fork()
except RuntimeError as error:
    print(error, flush=True)
os._exit(0)
"""


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != DIRECTORY}
    command = [sys.executable, *words]
    return subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


@pytest.mark.parametrize("set_to", [{}, {DIRECTORY: "/missing"}])
def test_where_no_server_can_be_reached_the_process_becomes_the_worker_that_ray_wanted(set_to: dict[str, str]) -> None:
    ended = run(str(PROGRAM), "--unknown-to-ray", **set_to)

    assert "No process of the fork server" in ended.stderr
    assert "default_worker.py: error" in ended.stderr  # its parser has read these words


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("", ""),
        ("ray.ObjectRef.from_random()", "two forks made the same id"),
        ("threading.Timer(60, id).start()", "has started a thread"),
    ],
)
def test_a_server_whose_forks_would_not_be_whole_or_would_be_the_same_does_not_fork(before: str, said: str) -> None:
    ended = run("-c", _CHECK.format(before=before))

    assert (ended.returncode, bool(ended.stdout)) == (0, bool(said)), ended.stderr
    assert said in ended.stdout
