"""Rules of the house that no linter knows: what every module and every lock must hold to."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "supervisor", "mcp_entry")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LOCKS = ("runtime.txt", "dev.txt")


def locked(name: str) -> dict[str, str]:
    """Each locked package's normalised name, and its whole entry."""
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"^(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries if entry}


def wanted(requirements: list[str]) -> set[str]:
    names = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_can_be_imported(path: Path) -> None:
    importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_what_it_owns_and_stays_short(path: Path) -> None:
    source = (ROOT / path).read_text()
    module = ast.parse(source)

    assert not module.body or ast.get_docstring(module)
    assert source.count("\n") <= 400


def test_every_file_of_the_tests_stays_short() -> None:
    assert [str(path) for path in (ROOT / "tests").rglob("*.py") if path.read_text().count("\n") > 300] == []


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    needed = wanted(project["project"]["dependencies"] + project["build-system"]["requires"])

    assert needed <= locked("runtime.txt").keys()
    assert wanted(project["dependency-groups"]["dev"]) <= locked("dev.txt").keys()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_host(name: str) -> None:
    for entry in locked(name).values():
        assert re.match(r"[a-z0-9-]+==\S+", entry)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", entry, re.MULTILINE)
        assert not re.search(r"://|--(?!hash=sha256:)", entry)


def test_the_development_lock_agrees_with_the_runtime_lock() -> None:
    runtime, dev = locked("runtime.txt"), locked("dev.txt")

    assert {name: runtime[name] for name in runtime.keys() & dev.keys()} == {
        name: dev[name] for name in runtime.keys() & dev.keys()
    }
