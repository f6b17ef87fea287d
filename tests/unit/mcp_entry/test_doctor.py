"""What the command says of this machine and tells Claude Code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actors.home import Home
from mcp_entry.cli import doctor
from mcp_entry.cli.doctor import NEWEST, OLDEST, claude_config, version_finding
from tests.fakes.machine import Machine
from tests.fakes.terminal import Ending, program_ended

PINS = Path(__file__).resolve().parents[3] / "requirements" / "claude"


@pytest.fixture
def machine(short_tmp: Path) -> Machine:
    """A machine with all programs that a team needs."""
    return Machine(short_tmp, "tmux", "git", "claude")


def test_a_machine_with_all_that_is_needed_is_well(machine: Machine, short_tmp: Path) -> None:
    machine.environment["ANTHROPIC_API_KEY"] = "secret"
    machine.write_config(hasCompletedOnboarding=True, projects={str(short_tmp): {"hasTrustDialogAccepted": True}})
    findings = machine.examine()
    assert {finding["state"] for finding in findings.values()} <= {"ok", "note"}
    assert findings["claude login"]["state"] == "ok"
    assert findings["claude trust"]["state"] == "ok"
    assert "secret" not in json.dumps(findings)


@pytest.mark.parametrize("program", ["tmux", "git", "claude"])
def test_a_missing_program_is_named_with_how_to_get_it(machine: Machine, program: str) -> None:
    (machine.bin / program).unlink()
    finding = machine.examine()[program]
    assert finding["state"] == "missing"
    assert "nstall" in finding["remedy"]


def test_a_program_that_fails_hangs_or_is_too_old_is_missing(machine: Machine) -> None:
    machine.programs = {
        "tmux": program_ended("tmux 2.9a\n"),
        "git": program_ended(stderr="no libz\n", code=1),
        "claude": subprocess.TimeoutExpired("claude", 60),
    }
    findings = machine.examine()
    assert [findings[name]["state"] for name in ("tmux", "git", "claude")] == ["missing"] * 3
    assert "no libz" in findings["git"]["found"]


def test_the_claude_that_was_found_is_named_and_one_that_is_on_no_path_is_pointed_to(
    machine: Machine, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which("claude", path=machine.environment["PATH"])
    assert machine.examine()["claude"]["found"].endswith(f"at {found}")
    set_up = short_tmp / "claude"
    set_up.touch()
    monkeypatch.setattr(doctor, "_SET_UP_CLAUDE", set_up)
    remedy = Machine(short_tmp / "other", "tmux", "git").examine()["claude"]["remedy"]
    assert f"PHALANX_CLAUDE_COMMAND to its path: `scripts/setup --claude` has put one at {set_up}" in remedy


def test_it_is_told_as_whom_agents_commit_or_that_they_cannot(machine: Machine) -> None:
    machine.programs["git"] = program_ended("Ada Lovelace <ada@example.org> 1764000000 +0000\n")
    assert machine.examine()["git identity"]["found"] == "Ada Lovelace <ada@example.org>"
    machine.programs["git"] = program_ended(stderr="no email was given\n", code=128)
    finding = machine.examine()["git identity"]
    assert finding["state"] == "note"
    assert "git config --global user.email" in finding["remedy"]


def test_it_is_told_where_settings_come_from_but_not_their_values(machine: Machine) -> None:
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


def test_settings_that_are_wrong_and_a_home_that_is_too_long_are_missing(machine: Machine, short_tmp: Path) -> None:
    machine.environment |= {"MAX_CONCURRENT_SPAWNS": "no", "PHALANX_HOME": str(short_tmp / ("x" * 100))}
    findings = machine.examine()
    assert findings["settings"]["state"] == "missing"
    assert "MAX_CONCURRENT_SPAWNS" in findings["settings"]["found"]
    assert "too long" in findings["home"]["remedy"]


def test_redis_is_asked_only_where_one_is_set(machine: Machine) -> None:
    assert "redis" not in machine.examine()


@pytest.mark.parametrize(
    ("ended", "state", "found", "remedy"),
    [
        (program_ended("Redis 7.0.15 answers\n"), "ok", "rediss://***@db:7000/1?…: Redis 7.0.15 answers", ""),
        # A team runs without it.
        (
            program_ended("nothing listens there\n", code=1),
            "note",
            "rediss://***@db:7000/1?…: nothing listens",
            "start Redis",
        ),
        (program_ended(code=-14), "note", "it does not answer", "start Redis"),
        (subprocess.TimeoutExpired("python", 60), "note", "could not be asked", "Look again"),
        (
            program_ended(stderr="Traceback:\nNo module named 'redis'\n", code=1),
            "missing",
            "No module named",
            "pip install",
        ),
    ],
)
def test_what_redis_says_is_told_and_its_password_stands_in_no_argument_and_no_answer(
    machine: Machine, ended: Ending, state: str, found: str, remedy: str
) -> None:
    machine.environment["REDIS_URL"] = "rediss://me:s3cret@db:7000/1?password=s3cret"
    machine.programs[Path(sys.executable).name] = ended
    findings = machine.examine()
    assert findings["redis"]["state"] == state
    assert found in findings["redis"]["found"]
    assert remedy in findings["redis"]["remedy"]
    assert "s3cret" not in json.dumps([findings, machine.ran])
    (environment,) = [given for ran, given in zip(machine.ran, machine.environments, strict=True) if "-P" in ran]
    assert environment["REDIS_URL"] == machine.environment["REDIS_URL"]


def test_an_address_of_redis_that_is_none_is_told_without_its_password(machine: Machine) -> None:
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
    assert config.login == ""


@pytest.mark.parametrize(("which", "version"), [("oldest", OLDEST), ("newest", NEWEST)])
def test_the_versions_that_the_command_knows_are_those_that_the_tests_run(which: str, version: str) -> None:
    pinned = json.loads((PINS / which / "package.json").read_text())["dependencies"]["@anthropic-ai/claude-code"]

    assert pinned == version


@pytest.mark.parametrize(
    ("said", "state", "found", "remedy"),
    [
        (f"{OLDEST} (Claude Code) at /usr/bin/claude", "ok", "one of the versions that were checked", ""),
        (f"{NEWEST} (Claude Code)", "ok", "one of the versions that were checked", ""),
        ("2.1.250 (Claude Code)", "ok", f"2.1.250 lies between {OLDEST} and {NEWEST}, which were checked", ""),
        ("2.1.196", "note", "older than", "claude update"),
        ("2.0.999", "note", "older than", "claude update"),
        ("1.9.400", "note", "older than", "claude update"),
        ("2.1.333", "note", "newer than", "scripts/claude-check"),
        ("2.1.1000", "note", "newer than", "scripts/claude-check"),
        ("2.2.0", "note", "newer than", "scripts/claude-check"),
        ("3.0.0", "note", "newer than", "scripts/claude-check"),
        ("claude is fine", "note", "does not say which version", "scripts/claude-check"),
    ],
)
def test_what_is_known_of_a_version_is_told_with_what_to_do(said: str, state: str, found: str, remedy: str) -> None:
    finding = version_finding(said)

    assert finding.state == state
    assert found in finding.found
    assert remedy in finding.remedy
    assert bool(remedy) == bool(finding.remedy)


def test_a_version_that_is_not_known_keeps_nobody_from_working(machine: Machine) -> None:
    machine.programs["claude"] = program_ended("2.1.999 (Claude Code)\n")

    finding = machine.examine()["claude version"]

    assert (finding["state"], finding["found"][:21]) == ("note", "2.1.999 is newer than")
    assert "scripts/claude-check" in machine("doctor").stdout
