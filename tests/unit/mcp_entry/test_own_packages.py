"""What the programs refuse before they import anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_entry.own_packages import foreign_package

PACKAGES = ("actors", "supervisor")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
    (tmp_path / "phalanx-0.1.0.dist-info").mkdir()
    (tmp_path / "supervisor_twiddler-1.0.dist-info").mkdir()
    return tmp_path


def test_packages_that_are_ours_are_no_fault(root: Path) -> None:
    assert foreign_package(root, PACKAGES, lambda name: root / name) == ""


def test_a_package_of_the_same_name_that_comes_first_is_named_with_its_place(root: Path) -> None:
    fault = foreign_package(
        root, PACKAGES, lambda name: Path("/theirs") / name if name == "supervisor" else root / name
    )
    assert fault.startswith(f"/theirs/supervisor comes before its own package {root}/supervisor")
    assert "pipx install" in fault


@pytest.mark.parametrize("kind", ["supervisor-4.3.0.dist-info", "supervisor-4.3.0-py3.11.egg-info"])
def test_a_distribution_that_shares_a_package_with_us_is_named_with_what_to_do(root: Path, kind: str) -> None:
    (root / kind).mkdir()
    fault = foreign_package(root, PACKAGES, lambda name: root / name)
    assert fault.startswith("supervisor 4.3.0 is installed in the same environment")
    assert "--force-reinstall" in fault


def test_what_is_left_when_the_other_was_uninstalled_is_to_be_installed_anew(root: Path) -> None:
    fault = foreign_package(root, PACKAGES, lambda name: None)
    assert fault == f"its package {root}/actors has lost files. Install Phalanx again, with --force-reinstall."
