"""What the start of a worker does without a server, and what keeps two workers from making the same ids."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import supervisor.ray_workers
from supervisor.ray_workers.worker import DIRECTORY, PROGRAM_NAME

PROGRAM = Path(supervisor.ray_workers.__file__).parent.parent / PROGRAM_NAME
_LIMIT_S = 60.0


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != DIRECTORY}
    command = [sys.executable, *words]
    return subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


def test_where_no_server_can_be_reached_the_process_becomes_the_worker_that_ray_wanted(tmp_path: Path) -> None:
    for where in ({}, {DIRECTORY: str(tmp_path / "missing")}):
        ended = run(str(PROGRAM), "--unknown-to-ray", **where)

        assert "No process of the fork server" in ended.stderr
        assert "default_worker.py: error" in ended.stderr  # its parser has read these words


def test_a_server_whose_forks_would_make_the_same_ids_serves_nobody() -> None:
    serve = "import ray; {}; from supervisor.ray_workers import fork_server as its; its._check_forks_differ()"

    assert run("-c", serve.format("pass")).returncode == 0
    ended = run("-c", serve.format("ray.ObjectRef.from_random()"))

    assert ended.returncode == 1
    assert "two forks made the same id" in ended.stderr
