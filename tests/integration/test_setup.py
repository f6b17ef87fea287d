"""``scripts/setup`` on an environment that is not its own. What it installs is shown by every run of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def setup_in(directory: Path, *options: str, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``programs``: before all others."""
    (directory / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup", directory / "scripts/setup")
    command = [str(directory / "scripts/setup"), *options]
    path = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_an_environment_that_setup_did_not_make_is_left_alone(tmp_path: Path) -> None:
    venv.create(tmp_path / ".venv", with_pip=False)
    (tmp_path / ".venv/theirs").write_text("kept")

    ended = setup_in(tmp_path)

    assert ended.returncode == 1
    assert "was not made by scripts/setup, so it is left alone. Move it away" in ended.stderr
    assert (tmp_path / ".venv/theirs").read_text() == "kept"


def test_a_link_to_an_environment_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(tmp_path / "elsewhere")

    assert setup_in(tmp_path).returncode == 1
    assert (tmp_path / ".venv").is_symlink()


def test_a_node_that_is_too_old_for_the_page_is_said_with_what_to_do_before_anything_is_made(tmp_path: Path) -> None:
    versions = {
        "tmux": "tmux 3.3a",
        "git": "git version 2.39.5",
        "redis-server": "Redis server v=7.0.15",
        "openssl": "OpenSSL 3.0.17",
        "node": "v18.20.4",
        "npm": "9.2.0",
        "apt-get": "must not run",
    }
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, version in versions.items():
        (programs / name).write_text(f"#!/bin/sh\necho {version}\n")
        (programs / name).chmod(0o755)

    ended = setup_in(tmp_path, "--dev", programs=programs)

    assert ended.returncode == 1
    assert ended.stderr.startswith("setup: node is 18.20.4, but at least 20 is needed to check the page.")
    assert "nodejs.org" in ended.stderr
    assert ended.stdout == ""
    assert not (tmp_path / ".venv").exists()
