"""The versions of the real Claude Code that tests run over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

OLDEST = "oldest"
_ROOT = Path(__file__).resolve().parent.parent.parent


def _commands() -> dict[str, Path]:
    given = os.environ.get("TEST_CLAUDE_COMMAND")
    if given:
        return {"given": Path(given)}
    return {which: _ROOT / f".venv/claude/{which}/node_modules/.bin/claude" for which in (OLDEST, "newest")}


CLAUDE_COMMANDS = _commands()
"""By name: the one that TEST_CLAUDE_COMMAND names, else what is installed here."""


def installed_claude(name: str) -> Path:
    """The program, which is there; else the test is skipped, or fails in CI."""
    command = CLAUDE_COMMANDS[name]
    if os.access(command, os.X_OK):
        return command
    missing = f"There is no Claude Code at {command}: run scripts/setup --dev --claude"
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
