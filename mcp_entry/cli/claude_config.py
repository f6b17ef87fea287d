"""What Claude Code's own configuration file says, as far as this command needs it; only reads.

Used by ``doctor`` and ``registration``. The file is Claude Code's: what is not as expected counts as not there.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.agents.claude_trust import config_file
from actors.errors import SettingsError

_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_PROVIDERS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeConfig:
    file: Path
    content: Mapping[str, Any]
    login: str
    """Where a login was found; empty when none can be seen."""

    @property
    def onboarded(self) -> bool:
        return self.content.get("hasCompletedOnboarding") is True

    def trusts(self, directory: Path) -> bool:
        """Trust is inherited: that of a parent covers what is below it."""
        projects = _mapping(self.content.get("projects"))
        return any(
            _mapping(projects.get(str(each))).get("hasTrustDialogAccepted") is True
            for each in (directory, *directory.parents)
        )

    def mcp_server(self, name: str) -> Mapping[str, Any] | None:
        """How an MCP server is registered in the user's scope."""
        return _mapping(_mapping(self.content.get("mcpServers")).get(name)) or None


def claude_words(command: str) -> list[str]:
    """The program and its arguments. Raises ``SettingsError`` for a command that is none."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"PHALANX_CLAUDE_COMMAND cannot be {command!r}: {error}. Correct its quotes.") from error
    if not words:
        raise SettingsError("PHALANX_CLAUDE_COMMAND is blank: set it to the path or name of Claude Code.")
    return words


def claude_config(environment: Mapping[str, str]) -> ClaudeConfig:
    file = config_file(environment)
    content = _read(file)
    named = environment.get("CLAUDE_CONFIG_DIR")
    home = Path(environment.get("HOME") or Path.home())
    credentials = (Path(named) if named else home / ".claude") / ".credentials.json"
    return ClaudeConfig(file=file, content=content, login=_login(environment, content, credentials))


def _login(environment: Mapping[str, str], content: Mapping[str, Any], credentials: Path) -> str:
    found = next((name for name in (*_KEYS, *_PROVIDERS) if environment.get(name)), "")
    if found:
        return f"{found} in the environment"
    if credentials.is_file():
        return str(credentials)
    return "an account in Claude Code's configuration" if content.get("oauthAccount") else ""


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
