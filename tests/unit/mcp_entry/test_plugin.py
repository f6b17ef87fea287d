"""What stands in the plugin, held against the program that it is for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_group

from mcp_entry.cli.app import app
from mcp_entry.cli.lazy import loaded
from mcp_entry.tools import TOOLS
from supervisor.versions import VERSION

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "plugin"
TEXTS = [PLUGIN / "skills/lead/SKILL.md", *sorted((PLUGIN / "commands").glob("*.md"))]
LONGEST_SKILL = 8_000


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_version_of_the_plugin_is_that_of_the_program() -> None:
    assert document(PLUGIN / ".claude-plugin/plugin.json")["version"] == VERSION


def test_the_marketplace_of_the_repository_offers_the_plugin_where_it_lies() -> None:
    (offered,) = document(ROOT / ".claude-plugin/marketplace.json")["plugins"]
    assert (ROOT / offered["source"]).resolve() == PLUGIN
    assert offered["name"] == document(PLUGIN / ".claude-plugin/plugin.json")["name"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_text_for_claude_says_what_it_is_for_and_names_only_what_exists(path: Path) -> None:
    _, head, text = path.read_text().split("---\n", 2)
    assert len(yaml.safe_load(head)["description"]) < 400
    commands = get_group(app).commands
    assert set(re.findall(r"`phalanx (\w+)", text)) <= set(commands)
    options = {option for each in commands.values() for one in loaded(each).params for option in one.opts}
    assert set(re.findall(r" (--[a-z-]+)", text)) <= options
    allowed = re.findall(r"mcp__plugin_phalanx_phalanx__(\w+)", head)
    assert set(allowed) <= set(TOOLS)


def test_the_skill_teaches_every_tool_that_a_lead_needs_for_its_way() -> None:
    text = TEXTS[0].read_text()
    assert len(text) < LONGEST_SKILL
    for tool in ("spawn_batch", "send", "wait", "list", "read", "respond", "interrupt", "restart", "recycle", "merge"):
        assert f"`{tool}`" in text


@pytest.mark.parametrize("installed", [True, False])
def test_what_is_missing_is_said_to_the_user_when_a_session_starts(tmp_path: Path, *, installed: bool) -> None:
    for name in ("phalanx", "phalanx-mcp"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755 if installed else 0o600)
    environment = {"PATH": os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"])}
    script = [str(PLUGIN / "scripts/installed.sh")]
    said = subprocess.run(["sh", *script], env=environment, check=True, capture_output=True, text=True, timeout=30)
    assert bool(said.stdout) is not installed
    if said.stdout:
        assert "uv tool install" in json.loads(said.stdout)["systemMessage"]
