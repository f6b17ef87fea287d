"""Which MCP servers the user's Claude Code has, as far as its files tell.

``ClaudeAgent`` calls it on the host, so that a spawn with the name of a server that is nowhere is refused in words.
Claude Code itself decides which of them an agent really gets: what is denied or not approved does not start. Blocks for
some files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.agents.claude_trust import config_file

MANAGED_DIRECTORY = Path("/etc/claude-code")
"""Of an organisation, whose settings no user can change."""


def server_names(environment: Mapping[str, str], directory: Path, checkouts: Sequence[Path]) -> set[str]:
    """The servers for a Claude that works in ``directory``, in a worktree of one of ``checkouts`` or in one itself.

    ``environment``: what it runs with. In a worktree those count that were added for its checkout.
    """
    config = _read(config_file(environment))
    projects = _mapping(config.get("projects"))
    named: set[str] = set(_mapping(config.get("mcpServers")))
    for project in (directory, *directory.parents, *checkouts):
        named |= set(_mapping(_mapping(projects.get(str(project))).get("mcpServers")))
    for file in _project_files(directory):
        named |= set(_mapping(_read(file).get("mcpServers")))
    return named


def may_be_given_servers() -> bool:
    """Whether Claude Code starts with ``--mcp-config`` here; where an organisation forbids that, it exits at once."""
    forbidden = _read(MANAGED_DIRECTORY / "managed-settings.json").get("disableSideloadFlags")
    return forbidden is not True and not (MANAGED_DIRECTORY / "managed-mcp.json").exists()


def _project_files(directory: Path) -> Iterator[Path]:
    """Claude Code also reads those of the directories above."""
    return (above / ".mcp.json" for above in (directory, *directory.parents))


def _read(path: Path) -> Mapping[str, Any]:
    """Empty when there is no such file, or none that can be understood."""
    try:
        return _mapping(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
