"""What a person has approved for a checkout in Claude Code, for the agents that work in worktrees of it.

Claude Code keeps such answers in ``.claude/settings.local.json`` of the checkout, which git does not carry to a
worktree. They are given to an agent with its own settings file, so nothing is written into its worktree. Blocking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_APPROVALS = ("enableAllProjectMcpServers", "enabledMcpjsonServers", "disabledMcpjsonServers")
_RULES = ("allow", "deny", "ask", "additionalDirectories")


def approvals_of(checkout: Path) -> dict[str, Any]:
    """The settings that hold approvals; ``{}`` when there are none or they cannot be read."""
    try:
        read = json.loads((checkout / ".claude" / "settings.local.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(read, dict):
        return {}
    found: dict[str, Any] = {name: read[name] for name in _APPROVALS if name in read}
    rules = read.get("permissions")
    if isinstance(rules, Mapping) and (kept := {name: rules[name] for name in _RULES if name in rules}):
        found["permissions"] = kept
    return found
