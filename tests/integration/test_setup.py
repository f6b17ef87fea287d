"""``scripts/setup`` on an environment that is not its own. What it installs is shown by every run of the tests."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def setup_in(directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup", directory / "scripts/setup")
    command = [str(directory / "scripts/setup")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


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
