"""The guard in ``tests/conftest.py`` can fail: a run whose tests leave processes behind is red, and they are ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
LEAVING = """\
import subprocess

def daemon(seconds, environment=None):
    subprocess.run(["sh", "-c", f"setsid sleep {seconds} >/dev/null 2>&1 &"], env=environment, check=True)

def test_leaves_daemons(short_tmp, tmp_path):
    daemon(61)
    daemon(62, {"PHALANX_HOME": str(short_tmp / "home")})
    daemon(63, {"PHALANX_HOME": str(tmp_path)})
    daemon(1)
"""


def test_a_run_that_leaves_daemons_behind_fails_names_and_ends_them(tmp_path: Path) -> None:
    inner = tmp_path / "test_inner.py"
    inner.write_text(LEAVING)
    pytest_there = ["-m", "pytest", "-p", "tests.conftest", "-c", "/dev/null", "--rootdir", str(tmp_path), str(inner)]

    run = subprocess.run(
        [sys.executable, *pytest_there], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert run.returncode == 1
    assert "1 passed, 1 error" in run.stdout
    named = {line.strip() for line in run.stdout.splitlines() if ": sleep 6" in line}
    assert {line.partition(": ")[2] for line in named} == {"sleep 61", "sleep 62", "sleep 63"}
    for line in named:
        with contextlib.suppress(psutil.NoSuchProcess):
            assert psutil.Process(int(line.partition(": ")[0])).status() == psutil.STATUS_ZOMBIE
    assert "sleep 1" not in run.stdout
