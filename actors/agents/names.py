"""The kinds of agents, by name."""

from __future__ import annotations

from typing import Literal, get_args

AgentName = Literal["claude", "demo"]
"""The kinds of agents; ``AgentCatalog`` makes each."""
AGENT_NAMES: tuple[AgentName, ...] = get_args(AgentName)
READ_AT_START = tuple(f":(glob)**/{name}" for name in ("CLAUDE.md", "AGENTS.md", ".mcp.json", ".claude/**"))
"""git's patterns of the files of a project that an agent reads once, when it starts."""
