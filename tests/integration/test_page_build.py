"""``scripts/page``: what it does where there is no Node, and when there is nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "mcp_entry/web/page"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The page's sources and its script, without packages."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/page", tmp_path / "scripts/page")
    shutil.copytree(ROOT / PAGE, tmp_path / PAGE, ignore=shutil.ignore_patterns("node_modules"))
    return tmp_path


def _build(checkout: Path, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``programs``: instead of what is on PATH."""
    environment = {**os.environ, **({"PATH": str(programs)} if programs else {})}
    return subprocess.run(
        [checkout / "scripts/page"], env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def without_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script needs beside Node, and a stand-in of Node that runs nothing, as version managers have it."""
    programs = tmp_path_factory.mktemp("programs")
    for name in ("bash", "git", "find", "sort", "cat", "flock", "dirname", "env", "rm", "mv"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    for name in ("node", "npm"):
        (programs / name).write_text("#!/bin/bash\nexit 127\n")
        (programs / name).chmod(0o755)
    return programs


def test_without_node_it_says_so_and_leaves_nothing_behind(checkout: Path, without_node: Path) -> None:
    ended = _build(checkout, without_node)
    assert ended.returncode == 3
    assert "Node 20" in ended.stderr
    assert not (checkout / "mcp_entry/web/static").exists()


def test_it_builds_once_and_then_needs_no_node_until_something_changed(checkout: Path, without_node: Path) -> None:
    assert _build(checkout).returncode == 0
    static = checkout / "mcp_entry/web/static"
    index = (static / "index.html").read_text()
    (script,) = (static / "assets").glob("*.js")
    assert f"/assets/{script.name}" in index
    assert "http://" not in index
    assert "https://" not in index
    again = _build(checkout, without_node)
    assert again.returncode == 0
    assert again.stdout == "page: is built\n"
    (checkout / PAGE / "src/index.html").write_text(index + "<!-- changed -->")
    assert _build(checkout, without_node).returncode == 3
    assert (static / "index.html").read_text() == index
