"""What the command says of this machine and tells Claude Code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from mcp_entry.cli import doctor
from mcp_entry.cli.doctor import claude_config
from tests.fakes.terminal import Terminal

PROGRAM = str(Path(sys.executable).with_name("phalanx-mcp"))


class Machine(Terminal):
    """A machine with programs on PATH and a HOME, all below one directory."""

    def __init__(self, directory: Path, *programs: str) -> None:
        super().__init__()
        self.user_home = directory / "user"
        self.bin = directory / "bin"
        for made in (self.user_home, self.bin):
            made.mkdir(parents=True)
        for name in programs:
            (self.bin / name).touch(mode=0o755)
        self.home = directory / "home"
        self.environment |= {"HOME": str(self.user_home), "PATH": str(self.bin), "PHALANX_HOME": str(self.home)}

    def write_config(self, **content: Any) -> None:
        (self.user_home / ".claude.json").write_text(json.dumps(content))

    def examine(self) -> dict[str, dict[str, str]]:
        ended = self("doctor", "--json")
        document = json.loads(ended.stdout)
        assert (ended.exit_code == 0) is document["ok"]
        return {finding["what"]: finding for finding in document["findings"]}


def server(home: str | None = None) -> dict[str, Any]:
    """How Claude Code keeps a registration."""
    variables = {} if home is None else {"PHALANX_HOME": home}
    return {"phalanx": {"type": "stdio", "command": PROGRAM, "args": [], "env": variables}}


def test_the_server_is_registered_for_the_user_with_its_absolute_path_and_its_home(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "claude")
    ended = machine("mcp", "add")
    claude = str(machine.bin / "claude")
    assert ended.exit_code == 0
    assert machine.ran == [
        [claude, "mcp", "add", "--scope", "user", "phalanx", "-e", f"PHALANX_HOME={machine.home}", "--", PROGRAM]
    ]
    assert f"To undo: {claude} mcp remove --scope user phalanx" in ended.stdout


def test_a_claude_that_is_run_with_arguments_is_run_with_them_here_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "env")
    machine.environment["PHALANX_CLAUDE_COMMAND"] = "env 'A B=1' claude"
    machine.write_config(mcpServers=server("/other"))
    ended = machine("mcp", "add")
    begin = [str(machine.bin / "env"), "A B=1", "claude", "mcp"]
    assert [command[:4] for command in machine.ran] == [begin, begin]
    assert [command[4] for command in machine.ran] == ["remove", "add"]
    assert f"To undo: {machine.bin}/env 'A B=1' claude mcp remove" in ended.stdout


def test_the_default_home_is_not_registered(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "claude")
    del machine.environment["PHALANX_HOME"]
    machine("mcp", "add")
    assert "-e" not in machine.ran[0]


def test_registering_twice_changes_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "claude")
    machine.write_config(mcpServers=server(str(machine.home)))
    ended = machine("mcp", "add", "--json")
    assert machine.ran == []
    assert json.loads(ended.stdout)["done"] == "already registered"


@pytest.mark.parametrize("registered", [server(), server("/other"), {"phalanx": {"command": "/old/phalanx-mcp"}}])
def test_another_registration_is_replaced(tmp_path: Path, registered: dict[str, Any]) -> None:
    machine = Machine(tmp_path, "claude")
    machine.write_config(mcpServers=registered)
    machine("mcp", "add")
    assert [command[1:3] for command in machine.ran] == [["mcp", "remove"], ["mcp", "add"]]


def test_what_claude_says_when_it_refuses_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "claude")
    machine.programs["claude"] = subprocess.CompletedProcess([], 1, "", "disk full\n")
    ended = machine("mcp", "add")
    assert ended.exit_code == 1
    assert "failed with status 1: disk full" in ended.stderr


def test_without_claude_it_says_how_to_get_it(tmp_path: Path) -> None:
    ended = Machine(tmp_path)("mcp", "add")
    assert ended.exit_code == 1
    assert "npm install -g @anthropic-ai/claude-code" in ended.stderr


def test_a_machine_with_all_that_is_needed_is_well(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.environment["ANTHROPIC_API_KEY"] = "secret"
    machine.write_config(hasCompletedOnboarding=True, projects={str(short_tmp): {"hasTrustDialogAccepted": True}})
    findings = machine.examine()
    assert {finding["state"] for finding in findings.values()} <= {"ok", "note"}
    assert findings["claude login"]["state"] == "ok"
    assert findings["claude trust"]["state"] == "ok"
    assert "secret" not in json.dumps(findings)


@pytest.mark.parametrize("program", ["tmux", "git", "claude"])
def test_a_missing_program_is_named_with_how_to_get_it(short_tmp: Path, program: str) -> None:
    programs = {"tmux", "git", "claude"} - {program}
    finding = Machine(short_tmp, *programs).examine()[program]
    assert finding["state"] == "missing"
    assert "nstall" in finding["remedy"]


def test_a_program_that_fails_hangs_or_is_too_old_is_missing(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.programs = {
        "tmux": subprocess.CompletedProcess([], 0, "tmux 2.9a\n", ""),
        "git": subprocess.CompletedProcess([], 1, "", "no libz\n"),
        "claude": subprocess.TimeoutExpired("claude", 60),
    }
    findings = machine.examine()
    assert [findings[name]["state"] for name in ("tmux", "git", "claude")] == ["missing"] * 3
    assert "no libz" in findings["git"]["found"]


def test_the_claude_that_was_found_is_named_and_one_that_is_on_no_path_is_pointed_to(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    found = shutil.which("claude", path=machine.environment["PATH"])
    assert machine.examine()["claude"]["found"].endswith(f"at {found}")
    set_up = short_tmp / "claude"
    set_up.touch()
    monkeypatch.setattr(doctor, "_SET_UP_CLAUDE", set_up)
    remedy = Machine(short_tmp / "other", "tmux", "git").examine()["claude"]["remedy"]
    assert f"PHALANX_CLAUDE_COMMAND to its path: `scripts/setup --claude` has put one at {set_up}" in remedy


def test_it_is_told_as_whom_agents_commit_or_that_they_cannot(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.programs["git"] = subprocess.CompletedProcess(
        [], 0, "Ada Lovelace <ada@example.org> 1764000000 +0000\n", ""
    )
    assert machine.examine()["git identity"]["found"] == "Ada Lovelace <ada@example.org>"
    machine.programs["git"] = subprocess.CompletedProcess([], 128, "", "no email was given\n")
    finding = machine.examine()["git identity"]
    assert finding["state"] == "note"
    assert "git config --global user.email" in finding["remedy"]


def test_it_is_told_where_settings_come_from_but_not_their_values(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    assert machine.examine()["settings"]["found"] == "defaults"
    machine.environment |= {"PHALANX_AGENT": "demo", "CACHE_SIZE": "17"}
    assert machine.examine()["settings"]["found"] == "the environment (CACHE_SIZE, PHALANX_AGENT)"
    config = Home(Path(machine.environment["PHALANX_HOME"])).config_file
    config.write_text("cache_ttl = 5\n")
    assert machine.examine()["settings"]["found"] == f"{config} and the environment (CACHE_SIZE, PHALANX_AGENT)"


def test_claude_is_not_needed_where_demo_agents_are_run(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git")
    machine.environment["PHALANX_AGENT"] = "demo"
    assert machine.examine()["claude"]["state"] == "note"


def test_settings_that_are_wrong_and_a_home_that_is_too_long_are_missing(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.environment |= {"MAX_CONCURRENT_SPAWNS": "no", "PHALANX_HOME": str(short_tmp / ("x" * 100))}
    findings = machine.examine()
    assert findings["settings"]["state"] == "missing"
    assert "MAX_CONCURRENT_SPAWNS" in findings["settings"]["found"]
    assert "too long" in findings["home"]["remedy"]


def machine_with_redis(short_tmp: Path, ended: subprocess.CompletedProcess[str] | Exception | None = None) -> Machine:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.environment["REDIS_URL"] = "rediss://me:s3cret@db:7000/1?password=s3cret"
    if ended is not None:
        machine.programs[Path(sys.executable).name] = ended  # type: ignore[assignment]
    return machine


def test_redis_is_asked_only_where_one_is_set(short_tmp: Path) -> None:
    assert "redis" not in Machine(short_tmp, "tmux", "git", "claude").examine()


def test_a_redis_that_answers_is_well_and_its_password_stands_in_no_argument_and_no_answer(short_tmp: Path) -> None:
    answers = subprocess.CompletedProcess([], 0, "Redis 7.0.15 answers\n", "")
    machine = machine_with_redis(short_tmp, answers)
    findings = machine.examine()
    assert findings["redis"]["state"] == "ok"
    assert findings["redis"]["found"] == "rediss://***@db:7000/1?…: Redis 7.0.15 answers"
    assert "s3cret" not in json.dumps([findings, machine.ran])
    (environment,) = [given for ran, given in zip(machine.ran, machine.environments, strict=True) if "-P" in ran]
    assert environment["REDIS_URL"] == machine.environment["REDIS_URL"]


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (
            subprocess.CompletedProcess([], 1, "nothing listens there\n", ""),
            "rediss://***@db:7000/1?…: nothing listens",
        ),
        (subprocess.CompletedProcess([], -14, "", ""), "it does not answer"),
        (subprocess.TimeoutExpired("python", 60), "could not be asked"),
    ],
)
def test_a_redis_that_cannot_be_used_is_a_note_because_the_team_runs_without_it(
    short_tmp: Path, ended: subprocess.CompletedProcess[str] | Exception, words: str
) -> None:
    finding = machine_with_redis(short_tmp, ended).examine()["redis"]
    assert finding["state"] == "note"
    assert words in finding["found"]


def test_a_client_of_redis_that_cannot_be_loaded_is_missing(short_tmp: Path) -> None:
    ended = subprocess.CompletedProcess([], 1, "", "Traceback:\nModuleNotFoundError: No module named 'redis'\n")
    finding = machine_with_redis(short_tmp, ended).examine()["redis"]
    assert finding["state"] == "missing"
    assert "No module named 'redis'" in finding["found"]
    assert "pip install" in finding["remedy"]


def test_an_address_of_redis_that_is_none_is_told_without_its_password(short_tmp: Path) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.environment["REDIS_URL"] = "http://me:s3cret@db"
    findings = machine.examine()
    assert findings["settings"]["state"] == "missing"
    assert "REDIS_URL" in findings["settings"]["found"]
    assert "s3cret" not in json.dumps(findings)


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"projects": 1, "mcpServers": {"phalanx": 2}}'])
def test_a_configuration_that_is_not_as_expected_counts_as_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / ".claude.json").write_text(content)
    config = claude_config({"HOME": str(tmp_path)})
    assert not config.onboarded
    assert not config.trusts(tmp_path)
    assert config.mcp_server("phalanx") is None
    assert config.login == ""
