"""Whether the Claude Code that is installed is one that Phalanx was tried with, and what to do if not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mcp_entry.cli.doctor import NEWEST, OLDEST, knowledge_of
from tests.unit.mcp_entry.test_registration_and_doctor import Machine

PINS = Path(__file__).resolve().parents[3] / "requirements" / "claude"


@pytest.mark.parametrize(("which", "version"), [("oldest", OLDEST), ("newest", NEWEST)])
def test_the_versions_that_the_command_knows_are_those_that_the_tests_run(which: str, version: str) -> None:
    pinned = json.loads((PINS / which / "package.json").read_text())["dependencies"]["@anthropic-ai/claude-code"]

    assert pinned == version


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_version_that_was_checked_is_called_so(version: str) -> None:
    known = knowledge_of(f"{version} (Claude Code) at /usr/bin/claude")

    assert known.checked
    assert "versions that were checked" in known.words
    assert not known.advice


def test_a_version_between_the_two_is_called_so() -> None:
    known = knowledge_of("2.1.250 (Claude Code)")

    assert known.checked
    assert known.words == f"2.1.250 lies between {OLDEST} and {NEWEST}, which were checked"


@pytest.mark.parametrize("version", ["2.1.196", "2.0.999", "1.9.400"])
def test_an_older_version_is_to_be_upgraded(version: str) -> None:
    known = knowledge_of(version)

    assert not known.checked
    assert "older" in known.words
    assert "claude update" in known.advice


@pytest.mark.parametrize("version", ["2.1.333", "2.1.1000", "2.2.0", "3.0.0"])
def test_a_newer_version_is_to_be_tried(version: str) -> None:
    known = knowledge_of(version)

    assert not known.checked
    assert "newer" in known.words
    assert "scripts/claude-check" in known.advice


def test_words_without_a_version_are_no_version() -> None:
    assert "does not say which version" in knowledge_of("claude is fine").words


def test_the_doctor_says_it_in_its_document_and_a_version_that_is_not_known_keeps_nobody_from_working(
    short_tmp: Path,
) -> None:
    machine = Machine(short_tmp, "tmux", "git", "claude")
    machine.programs["claude"] = subprocess.CompletedProcess([], 0, "2.1.999 (Claude Code)\n", "")

    finding = machine.examine()["claude version"]

    assert finding["state"] == "note"
    assert finding["found"].startswith("2.1.999 is newer than")
    assert "scripts/claude-check" in finding["remedy"]
    assert "scripts/claude-check" in machine("doctor").stdout
