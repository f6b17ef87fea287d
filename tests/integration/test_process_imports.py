"""What is started often must not pay for libraries that it does not need.

The entry must load no Ray, whose import alone takes longer than the whole entry may. An instance runs in a process
of its own, hundreds of times: beside Ray and what Ray loads it uses the standard library and msgpack. A hook is started
for every event.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache

import pytest

from tests.process_imports import KINDS, ROOT, Start, given_to, start

DEAR = (
    "ray grpc google numpy aiohttp requests urllib3 jsonschema yaml pydantic pydantic_core redis hiredis cryptography "
    "opentelemetry git gitdb libtmux psutil msgpack mcp mcp_types anyio starlette sse_starlette uvicorn httpx httpx2 "
    "python_multipart typer click rich textual sqlite3 tomllib multiprocessing argparse http email"
)
"""Packages whose import costs time or memory that is worth a thought; the standard library's among them."""
_RAY = "ray google requests urllib3 jsonschema yaml psutil multiprocessing http email msgpack"
_SETTINGS = "pydantic pydantic_core tomllib email"
_MCP = (
    f"{_SETTINGS} msgpack mcp mcp_types anyio starlette sse_starlette uvicorn httpx2 python_multipart click "
    "cryptography opentelemetry multiprocessing http argparse"
)
_PROGRAM = f"{_SETTINGS} libtmux psutil msgpack"
_REDIS = "redis hiredis cryptography opentelemetry email"
MAY_LOAD: Mapping[str, str] = {
    "hook": "",
    "launcher": "",
    "demo agent": "",
    "served command": "",
    "instance, without Ray": "msgpack",
    "instance": f"{_RAY} pydantic pydantic_core anyio starlette",
    "host": f"{_RAY} git gitdb libtmux",
    "supervisor": f"{_RAY} {_SETTINGS} {_REDIS} git gitdb libtmux sqlite3 click",
    "boot": f"{_RAY} argparse",
    "leaving": f"{_RAY} argparse",
    "runtime": f"{_PROGRAM} argparse",
    "node": f"{_PROGRAM} argparse",
    "other nodes": _RAY,
    "entry": _MCP,
    "endpoint": f"{_MCP} psutil",
    "phalanx --help": "typer",
    "everyday command": "pydantic pydantic_core msgpack typer rich email",
    "command": f"{_PROGRAM} typer rich",
    "top": f"{_PROGRAM} typer rich yaml textual",
    "client": "pydantic pydantic_core msgpack email",
    "Redis probe": _REDIS,
}
_LAUNCHER = "abc builtins codecs encodings genericpath io marshal os posix posixpath stat sys time zipimport"
_HOOK = f"{_LAUNCHER} fcntl select"
NEARLY_FREE: Mapping[str, str] = {
    "hook": _HOOK,
    "launcher": _LAUNCHER,
    "served command": f"{_LAUNCHER} array atexit collections contextlib enum errno functools importlib itertools "
    "keyword math operator pwd reprlib resource select selectors signal site socket types warnings",
    "demo agent": f"{_HOOK} collections contextlib copyreg enum errno fnmatch functools heapq ipaddress itertools json "
    "keyword ntpath operator pathlib platform re reprlib shlex signal termios tty types typing unicodedata urllib uuid "
    "warnings",
}
"""All that those may load whose whole start is a few milliseconds."""


@cache
def loaded_by(kind: str) -> Start:
    return start(KINDS[kind], given_to(KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_loads_no_dear_package_that_it_does_not_need(kind: str) -> None:
    dear = loaded_by(kind).packages & set(DEAR.split())

    assert dear - set(MAY_LOAD[kind].split()) == set()


@pytest.mark.parametrize("kind", NEARLY_FREE)
def test_what_an_agent_waits_for_loads_only_what_is_nearly_free(kind: str) -> None:
    packages = {name for name in loaded_by(kind).packages if not name.startswith("_")}

    assert packages - set(NEARLY_FREE[kind].split()) == set()


def test_an_instance_loads_the_standard_library_and_msgpack_only() -> None:
    packages = loaded_by("instance, without Ray").packages - set(sys.stdlib_module_names)

    # The compiled half of msgpack brings entries of its compiler along; a virtual environment's site one of its own.
    assert {each for each in packages if "cython" not in each and each != "_distutils_hack"} == {"msgpack"}


def test_an_everyday_command_loads_only_what_it_asks_of_the_team() -> None:
    loaded = {name for name in loaded_by("everyday command").modules if name.startswith(("actors", "supervisor"))}

    assert "supervisor.rpc.client" in loaded
    assert not {name for name in loaded if name.startswith(("actors.agents.base", "actors.tmux", "actors.git"))}
    assert not {"supervisor.api.team_requests", "supervisor.api.team_results", "supervisor.settings"} & loaded
    assert "supervisor.runtime" not in loaded


def test_the_list_of_commands_runs_none_of_their_modules() -> None:
    ours = {name for name in loaded_by("phalanx --help").modules if name.startswith(("mcp_entry", "supervisor"))}

    assert ours <= {
        "mcp_entry",
        "mcp_entry.cli",
        "mcp_entry.cli.app",
        "mcp_entry.cli.command_call",
        "mcp_entry.cli.lazy",
        "mcp_entry.launch",
        "mcp_entry.own_packages",
        "supervisor",
        "supervisor.versions",
    }


def test_no_module_of_the_entry_loads_ray() -> None:
    paths = (ROOT / "mcp_entry").rglob("*.py")
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)
    program = f"import sys, {', '.join(modules)}; print('ray' in sys.modules)"
    words = [sys.executable, "-c", program]

    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True)

    assert done.stdout == "False\n"
