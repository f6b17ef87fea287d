"""The wheel as a new user has it: installed by pip, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = "supervisor==4.3.0"
"""PyPI's process manager, whose package is named like one of ours."""
INSTALL_S = 120
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> str:
    built = run([str(ROOT / "scripts/wheel"), str(tmp_path_factory.mktemp("dist"))])
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    """Of a fresh environment."""
    made = run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")])
    assert made.returncode == 0, made.stderr
    return tmp_path / "venv/bin"


def run(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PHALANX_", "REDIS_", "RAY_"))}
    return subprocess.run(
        command, env={**kept, **environment}, cwd="/", capture_output=True, text=True, timeout=INSTALL_S, check=False
    )


def pip(bin_directory: Path, *words: str) -> None:
    into = ["--python", str(bin_directory / "python"), "--quiet", "--disable-pip-version-check"]
    ended = run([sys.executable, "-m", "pip", *into, *words])
    assert ended.returncode == 0, ended.stderr


def install(bin_directory: Path, *what: str) -> None:
    pip(bin_directory, "install", "--no-deps", *what)


def test_a_wheel_needs_no_checkout_for_the_demo(
    wheel: str, bin_directory: Path, make_short_tmp: Callable[[], Path]
) -> None:
    install(bin_directory, wheel)
    # The libraries of this run stand in for those that pip would fetch; the checkout is not on this path.
    (site,) = (bin_directory.parent / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    home = str(make_short_tmp())

    version = run([str(bin_directory / "phalanx"), "--version"], HOME=home)
    shown = run([str(bin_directory / "phalanx"), "demo", "--size", "1"], HOME=home)

    assert version.stdout.startswith("phalanx "), version.stderr
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "no process of the team is left" in shown.stdout
    assert run(
        [str(bin_directory / "python"), "-c", "import supervisor; print(supervisor.__file__)"]
    ).stdout.startswith(str(site))


@pytest.mark.parametrize("ours_first", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_foreign_supervisor_in_the_same_environment_is_refused_by_name_whichever_came_first(
    wheel: str, bin_directory: Path, ours_first: bool
) -> None:
    for what in (wheel, FOREIGN) if ours_first else (FOREIGN, wheel):
        install(bin_directory, what)

    for program in ("phalanx", "phalanx-mcp"):
        refused = run([str(bin_directory / program)])
        assert refused.returncode == 1
        assert "supervisor 4.3.0 is installed in the same environment" in refused.stderr
        assert "Traceback" not in refused.stderr

    pip(bin_directory, "uninstall", "--yes", "supervisor")
    damaged = run([str(bin_directory / "phalanx")])
    assert damaged.returncode == 1
    assert "has lost files. Install Phalanx again, with --force-reinstall." in damaged.stderr
    install(bin_directory, "--force-reinstall", wheel)
    whole = run([str(bin_directory / "python"), "-c", "from mcp_entry.own_packages import fault; print(repr(fault()))"])
    assert whole.stdout == "''\n", whole.stderr


@pytest.mark.long
@pytest.mark.real_claude
@pytest.mark.timeout(900)
def test_from_nothing_two_commands_lead_to_a_claude_with_a_team() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.from_nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert "a team of 2 below it" in ended.stdout, ended.stdout + ended.stderr
