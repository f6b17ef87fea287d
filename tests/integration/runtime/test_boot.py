"""The boot program: when it takes Ray for ready, and what it says when it cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from supervisor.boot import find_address
from tests.integration.runtime.conftest import ROOT


def test_ray_is_ready_once_its_raylet_is_registered(tmp_path: Path) -> None:
    assert find_address(tmp_path) is None
    session = tmp_path / "session_2026"
    (session / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(session)
    (session / "gcs_server_port_aa").write_text("")
    (session / "logs" / "debug_state.txt").touch()
    assert find_address(tmp_path) is None
    (session / "gcs_server_port_aa").write_text("4711")
    assert find_address(tmp_path) == "127.0.0.1:4711"
    (session / "logs" / "debug_state.txt").unlink()
    assert find_address(tmp_path) is None


def test_a_port_that_ray_is_just_writing_down_is_waited_for(tmp_path: Path) -> None:
    """It writes beside the file and then renames: what was listed a moment before is gone when it is read."""
    session = tmp_path / "session_latest"
    (session / "logs").mkdir(parents=True)
    (session / "logs" / "debug_state.txt").touch()
    (session / "gcs_server_port_aa.tmp").write_text("47")
    (session / "gcs_server_port_bb").symlink_to("gone-by-now")

    assert find_address(tmp_path) is None

    (session / "gcs_server_port_aa.tmp").write_text("4711")
    (session / "gcs_server_port_aa.tmp").rename(session / "gcs_server_port_aa")
    assert find_address(tmp_path) == "127.0.0.1:4711"


def test_what_the_head_tells_is_enough_too(tmp_path: Path) -> None:
    (tmp_path / "ray_current_cluster").write_text("127.0.0.1:4712\n")

    assert find_address(tmp_path) == "127.0.0.1:4712"


def test_a_ray_that_does_not_come_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "supervisor.boot", "--home", str(tmp_path), "--timeout", "0.2"]

    done = subprocess.run(
        [*command, "--factory", "builtins:print"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert json.loads(done.stdout) == {"ok": False, "message": "Ray was not up in time", "lost": True}
