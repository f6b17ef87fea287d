"""The kinds of agents, by name."""

from __future__ import annotations

from typing import Literal, get_args

AgentName = Literal["claude", "demo"]
"""The kinds of agents; ``AgentCatalog`` makes each."""
AGENT_NAMES: tuple[AgentName, ...] = get_args(AgentName)
