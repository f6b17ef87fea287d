"""What ``phalanx mcp add`` and ``remove`` tell Claude Code, and what they write into its settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.machine import Machine
from tests.fakes.terminal import program_ended

PROGRAM = str(Path(sys.executable).with_name("phalanx-mcp"))
RULE = "mcp__phalanx"


@pytest.fixture
def machine(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With Claude Code; commands are given in a project."""
    (short_tmp / "project").mkdir()
    monkeypatch.chdir(short_tmp / "project")
    return Machine(short_tmp, "claude")


@pytest.fixture
def settings(machine: Machine) -> Path:
    """The user's settings of Claude Code, which are not there yet."""
    (machine.user_home / ".claude").mkdir()
    return machine.user_home / ".claude" / "settings.json"


def server(home: str | None = None) -> dict[str, Any]:
    """How Claude Code keeps a registration."""
    variables = {} if home is None else {"PHALANX_HOME": home}
    return {"phalanx": {"type": "stdio", "command": PROGRAM, "args": [], "env": variables}}


def test_the_server_is_registered_for_the_user_with_its_absolute_path_and_its_home(machine: Machine) -> None:
    said = machine("mcp", "add")
    claude = str(machine.bin / "claude")
    assert said.exit_code == 0
    assert machine.ran == [
        [claude, "mcp", "add", "--scope", "user", "phalanx", "-e", f"PHALANX_HOME={machine.home}", "--", PROGRAM]
    ]
    assert f"or {claude} mcp remove --scope user phalanx" in said.stdout


def test_a_claude_that_is_run_with_arguments_is_run_with_them_here_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "env")
    machine.environment["PHALANX_CLAUDE_COMMAND"] = "env 'A B=1' claude"
    machine.write_config(mcpServers=server("/other"))
    said = machine("mcp", "add")
    begin = [str(machine.bin / "env"), "A B=1", "claude", "mcp"]
    assert [command[:4] for command in machine.ran] == [begin, begin]
    assert [command[4] for command in machine.ran] == ["remove", "add"]
    assert f"or {machine.bin}/env 'A B=1' claude mcp remove" in said.stdout


def test_the_default_home_is_not_registered(machine: Machine) -> None:
    del machine.environment["PHALANX_HOME"]
    machine("mcp", "add")
    assert "-e" not in machine.ran[0]


def test_registering_twice_changes_nothing(machine: Machine) -> None:
    machine.write_config(mcpServers=server(str(machine.home)))
    said = machine("mcp", "add", "--json")
    assert machine.ran == []
    assert json.loads(said.stdout)["done"] == "already registered"


@pytest.mark.parametrize("registered", [server(), server("/other"), {"phalanx": {"command": "/old/phalanx-mcp"}}])
def test_another_registration_is_replaced(machine: Machine, registered: dict[str, Any]) -> None:
    machine.write_config(mcpServers=registered)
    machine("mcp", "add")
    assert [command[1:3] for command in machine.ran] == [["mcp", "remove"], ["mcp", "add"]]


def test_what_claude_says_when_it_refuses_is_told(machine: Machine) -> None:
    machine.programs["claude"] = program_ended(stderr="disk full\n", code=1)
    said = machine("mcp", "add")
    assert said.exit_code == 1
    assert "failed with status 1: disk full" in said.stderr


def test_without_claude_it_says_how_to_get_it(tmp_path: Path) -> None:
    said = Machine(tmp_path)("mcp", "add")
    assert said.exit_code == 1
    assert "npm install -g @anthropic-ai/claude-code" in said.stderr


@pytest.mark.parametrize("scope", ["local", "project"])
def test_what_is_registered_in_another_scope_is_looked_for_there_and_is_not_the_users(
    machine: Machine, scope: str
) -> None:
    machine.write_config(mcpServers=server(str(machine.home)))
    machine("mcp", "add", "--scope", scope)
    assert [command[1:5] for command in machine.ran] == [["mcp", "add", "--scope", scope]]

    here = {"mcpServers": server(str(machine.home))}
    machine.write_config(projects={str(Path.cwd()): here})
    Path(".mcp.json").write_text(json.dumps(here))
    said = machine("mcp", "add", "--scope", scope, "--json")
    assert json.loads(said.stdout)["done"] == "already registered"
    assert len(machine.ran) == 1


def test_others_who_share_a_project_find_the_server_by_its_name_where_that_is_on_the_path(machine: Machine) -> None:
    (machine.bin / "phalanx-mcp").symlink_to(PROGRAM)
    machine("mcp", "add", "--scope", "project")
    assert machine.ran[0][-1] == "phalanx-mcp"


def test_without_allow_no_settings_are_written_and_it_is_said_that_claude_asks(
    machine: Machine, settings: Path
) -> None:
    said = machine("mcp", "add")
    assert not settings.exists()
    assert "Claude asks you before each tool" in said.stdout
    assert "--allow" in said.stdout


@pytest.mark.parametrize(
    ("scope", "file"),
    [
        ("user", "user/.claude/settings.json"),
        ("local", "project/.claude/settings.local.json"),
        ("project", "project/.claude/settings.json"),
    ],
)
def test_allow_writes_the_rule_into_the_settings_of_the_scope_and_says_what_it_means(
    machine: Machine, short_tmp: Path, scope: str, file: str
) -> None:
    said = machine("mcp", "add", "--scope", scope, "--allow")
    assert json.loads((short_tmp / file).read_text()) == {"permissions": {"allow": [RULE]}}
    assert str(short_tmp / file) in said.stdout
    assert "(respond)" in said.stdout
    assert machine("mcp", "add", "--scope", scope, "--allow").exit_code == 0
    assert (short_tmp / file).read_text().count(RULE) == 1


def test_all_else_in_the_settings_stays_as_it_was_also_behind_a_link(machine: Machine, settings: Path) -> None:
    kept = machine.user_home / "dotfiles.json"
    before = (
        '{\n\t"model": "opus",\n\t"half": "\\ud800",\n\t"permissions": {\n\t\t"deny": [\n\t\t\t"Read(./é)"\n\t\t],\n'
        '\t\t"allow": [\n\t\t\t"Bash(ls)"\n\t\t]\n\t},\n\t"theirs": [\n\t\t1.50,\n\t\tnull\n\t]\n}\n'
    )
    kept.write_text(before)
    kept.chmod(0o640)
    settings.symlink_to(kept)

    machine("mcp", "add", "--allow")

    assert settings.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    content = json.loads(kept.read_text())
    assert content.pop("permissions") == {"deny": ["Read(./é)"], "allow": ["Bash(ls)", RULE]}
    assert content == {"model": "opus", "half": "\ud800", "theirs": [1.5, None]}
    assert list(json.loads(kept.read_text())) == ["model", "half", "permissions", "theirs"]
    assert kept.read_text().startswith('{\n\t"model"')


@pytest.mark.parametrize("odd", ["{", "[]", '{"permissions": []}', '{"permissions": {"allow": "all"}}', "// mine\n{}"])
@pytest.mark.parametrize("command", ["add", "remove"])
def test_settings_that_are_not_claudes_are_refused_in_words_before_anything_is_done(
    machine: Machine, settings: Path, odd: str, command: str
) -> None:
    settings.write_text(odd)
    said = machine("mcp", command, *(["--allow"] if command == "add" else []))
    assert said.exit_code == 1
    assert str(settings) in said.stderr
    assert "Nothing was changed." in said.stderr
    assert (settings.read_text(), machine.ran) == (odd, [])


def test_remove_takes_out_the_registration_and_the_rule_and_nothing_else(machine: Machine, settings: Path) -> None:
    machine.write_config(mcpServers=server())
    settings.write_text(json.dumps({"permissions": {"allow": ["Bash(ls)", RULE, f"{RULE}__list"]}}))

    said = machine("mcp", "remove")

    assert [command[1:] for command in machine.ran] == [["mcp", "remove", "--scope", "user", "phalanx"]]
    assert json.loads(settings.read_text()) == {"permissions": {"allow": ["Bash(ls)", f"{RULE}__list"]}}
    assert "is no longer registered" in said.stdout
    assert "is out of" in said.stdout


class ClaudeOfProject(Machine):
    """Its Claude Code keeps the servers of the project as the real one does."""

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        if command[2] == "remove":
            servers = json.loads(Path(".mcp.json").read_text())["mcpServers"]
            del servers["phalanx"]
            Path(".mcp.json").write_text(json.dumps({"mcpServers": servers}))
        return super()._run(command, environment)


@pytest.mark.parametrize("other", [{}, {"other": {"command": "x"}}])
def test_remove_leaves_no_file_that_holds_nothing_and_all_others(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    monkeypatch.chdir(short_tmp)
    machine = ClaudeOfProject(short_tmp, "claude")
    assert machine("mcp", "add", "--scope", "project", "--allow").exit_code == 0
    settings = Path(".claude/settings.json")
    if other:
        settings.write_text(json.dumps({"model": "opus", "permissions": {"allow": [RULE]}}))
    Path(".mcp.json").write_text(json.dumps({"mcpServers": {**server(), **other}}))

    assert machine("mcp", "remove", "--scope", "project").exit_code == 0

    assert Path(".mcp.json").exists() is settings.exists() is bool(other)
    if other:
        assert json.loads(Path(".mcp.json").read_text()) == {"mcpServers": other}
        assert json.loads(settings.read_text()) == {"model": "opus"}


def test_remove_where_nothing_is_registered_says_so_and_needs_no_claude(tmp_path: Path) -> None:
    said = Machine(tmp_path)("mcp", "remove", "--json")
    assert said.exit_code == 0
    assert json.loads(said.stdout)["wasRegistered"] is False
