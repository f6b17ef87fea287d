"""``scripts/wheel`` in a checkout that nobody has set up, over stand-ins of what it calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = """#!/usr/bin/env bash
echo "setup: ready"
mkdir -p .venv/bin
cat >.venv/bin/python <<'P'
#!/usr/bin/env bash
while [ "$1" != --wheel-dir ]; do shift; done
mkdir -p "$2"
echo built >"$2/phalanx-1-py3-none-any.whl"
P
chmod +x .venv/bin/python
"""
"""Makes an environment in which pip builds a wheel of one line."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/wheel", tmp_path / "scripts/wheel")
    for name in ("pyproject.toml", "README.md"):
        (tmp_path / name).write_text("")
    subprocess.run(["git", "init", "-q", tmp_path], check=True, timeout=30)
    return tmp_path


def wheel_in(checkout: Path, setup: str) -> subprocess.CompletedProcess[str]:
    script = checkout / "scripts/setup"
    script.write_text(setup)
    script.chmod(0o755)
    return subprocess.run([checkout / "scripts/wheel"], capture_output=True, text=True, timeout=60, check=False)


def test_it_sets_up_what_it_needs_and_prints_nothing_but_the_path_of_the_wheel(checkout: Path) -> None:
    ended = wheel_in(checkout, SETUP)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{checkout}/dist/phalanx-1-py3-none-any.whl\n"
    assert Path(ended.stdout.strip()).read_text() == "built\n"
    assert "setup: ready" in ended.stderr


def test_what_cannot_be_set_up_ends_it_with_the_words_of_the_setup(checkout: Path) -> None:
    ended = wheel_in(checkout, '#!/bin/sh\necho "setup: tmux is missing" >&2\nexit 1\n')
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "setup: tmux is missing\n"
    assert not (checkout / "dist").exists()
