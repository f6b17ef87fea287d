"""``phalanx mcp add`` and ``remove`` with the real Claude Code, in a HOME of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.projects import make_repository

pytestmark = pytest.mark.each_version

PHALANX = str(Path(sys.executable).with_name("phalanx"))


def mcp(claude: Path, directory: Path, *words: str, cwd: Path | None = None) -> dict[str, Any]:
    ended = subprocess.run(
        [PHALANX, "mcp", *words, "--json"],
        env={"HOME": str(directory), "PATH": os.environ["PATH"], "PHALANX_CLAUDE_COMMAND": str(claude)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def add(claude: Path, directory: Path, home: str) -> dict[str, Any]:
    return mcp(claude, directory, "add", "--home", home)


def registered(directory: Path) -> Any:
    return json.loads((directory / ".claude.json").read_text())["mcpServers"].get("phalanx")


@pytest.mark.real_claude
def test_claude_code_knows_the_server_after_it_was_added_and_not_after_it_was_undone(
    claude_command: Path, short_tmp: Path
) -> None:
    odd = f"{short_tmp}/a b=c"
    assert add(claude_command, short_tmp, odd)["done"] == "registered"
    assert registered(short_tmp)["env"] == {"PHALANX_HOME": odd}
    assert add(claude_command, short_tmp, odd)["done"] == "already registered"

    again = add(claude_command, short_tmp, f"{short_tmp}/.phalanx")
    assert again["done"] == "registered again"
    assert registered(short_tmp)["env"] == {}
    assert Path(registered(short_tmp)["command"]).is_file()

    subprocess.run(
        again["undo"].split(), env={"HOME": str(short_tmp), "PATH": os.environ["PATH"]}, timeout=60, check=True
    )
    assert registered(short_tmp) is None


@pytest.mark.real_claude
@pytest.mark.parametrize("scope", ["user", "local", "project"])
def test_each_scope_is_registered_once_and_taken_out_again_where_claude_code_keeps_it(
    claude_command: Path, short_tmp: Path, scope: str
) -> None:
    project = make_repository(short_tmp / "project")

    added = [mcp(claude_command, short_tmp, "add", "--scope", scope, "--allow", cwd=project) for _ in range(2)]
    listed = _listed(claude_command, short_tmp, project)
    removed = mcp(claude_command, short_tmp, "remove", "--scope", scope, cwd=project)

    assert [each["done"] for each in added] == ["registered", "already registered"]
    assert added[1]["allowed"]
    assert "phalanx" in listed
    assert (removed["wasRegistered"], removed["wasAllowed"]) == (True, True)
    assert "phalanx-mcp" not in _listed(claude_command, short_tmp, project)
    assert not Path(added[0]["settings"]).exists()
    assert not (project / ".mcp.json").exists()


def _listed(claude: Path, home: Path, project: Path) -> str:
    """What Claude Code itself says of the server in this project."""
    return subprocess.run(
        [str(claude), "mcp", "get", "phalanx"],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
