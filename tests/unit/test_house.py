"""Rules of the house that no linter knows: what every module and every lock must hold to."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "supervisor", "mcp_entry")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in MODULES}
LOCKS = ("runtime.txt", "dev.txt", "page.txt")


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
    importlib.import_module(module_of(path))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_what_it_owns(path: Path) -> None:
    module = ast.parse((ROOT / path).read_text())

    assert not module.body or ast.get_docstring(module)


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Every module that is loaded with this one: what it imports outside of functions and ``if TYPE_CHECKING``."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse((ROOT / path).read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{each.name}" for each in node.names}
            found |= {part if part in NAMES else node.module for part in parts}
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def test_no_module_loads_itself_through_others() -> None:
    loads = {module_of(path): sorted(imports_of(path)) for path in MODULES}
    order = TopologicalSorter({module: [each for each in found if each in loads] for module, found in loads.items()})

    order.prepare()  # raises CycleError with the modules of a cycle


def test_arrows_run_down_only() -> None:
    up = [
        (str(path), name)
        for path in MODULES
        for name in imports_of(path)
        if name.partition(".")[0] in PACKAGES[PACKAGES.index(path.parts[0]) + 1 :]
    ]

    assert up == []


def test_only_the_doors_import_ray() -> None:
    doors = {str(path) for path in MODULES if "ray" in {name.partition(".")[0] for name in imports_of(path)}}

    assert doors == {
        "actors/ray_client.py",
        "actors/host/cluster.py",
        "supervisor/boot.py",
        "supervisor/leaving.py",
        "supervisor/ray_processes/fork_server.py",
        "supervisor/ray_processes/ray_start.py",
        "supervisor/stop_other_nodes.py",
    }


def without_marker(entry: str) -> str:
    """What stands behind a package's version says on which systems it is wanted."""
    return re.sub(r" ; [^\n]*?( \\)?$", r"\1", entry, count=1, flags=re.MULTILINE)


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    needed = wanted(project["project"]["dependencies"] + project["build-system"]["requires"])

    assert needed <= locked("runtime.txt").keys()
    for group in ("dev", "page"):
        assert wanted(project["dependency-groups"][group]) <= locked(f"{group}.txt").keys()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_host(name: str) -> None:
    for entry in locked(name).values():
        assert re.match(r"[a-z0-9-]+==\S+", entry)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", entry, re.MULTILINE)
        assert not re.search(r"://|--(?!hash=sha256:)", entry)


def test_the_development_lock_agrees_with_the_runtime_lock() -> None:
    runtime, dev = locked("runtime.txt"), locked("dev.txt")

    both = runtime.keys() & dev.keys()
    assert {name: without_marker(runtime[name]) for name in both} == {name: without_marker(dev[name]) for name in both}
