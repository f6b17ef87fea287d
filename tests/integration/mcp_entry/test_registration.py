"""``phalanx mcp add`` with the real Claude Code, in a HOME of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.each_version

PHALANX = str(Path(sys.executable).with_name("phalanx"))


def add(claude: Path, directory: Path, home: str) -> dict[str, Any]:
    ended = subprocess.run(
        [PHALANX, "mcp", "add", "--json", "--home", home],
        env={"HOME": str(directory), "PATH": os.environ["PATH"], "PHALANX_CLAUDE_COMMAND": str(claude)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


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
