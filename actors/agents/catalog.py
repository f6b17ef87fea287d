"""Which kinds of agent there are: Claude Code, and the demo, which behaves like it without a model behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.agents.base import Agent
from actors.agents.claude import ClaudeAgent
from actors.agents.demo.agent import DemoAgent
from actors.agents.names import AGENT_NAMES, AgentName
from actors.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCatalog:
    """Makes agents by name. ``python`` runs hooks and the demo program; ``demo_start_s`` is in seconds."""

    claude_command: str
    python: str
    demo_start_s: float = 0.0

    def named(self, name: str) -> Agent:
        """Raises ``InvalidRequestError`` for a name that no agent has."""
        for known in AGENT_NAMES:
            if known == name:
                return _FACTORIES[known](self)
        raise InvalidRequestError(f"There is no agent {name!r}: use {' or '.join(AGENT_NAMES)}.")


_FACTORIES: Mapping[AgentName, Callable[[AgentCatalog], Agent]] = {
    "claude": lambda catalog: ClaudeAgent(catalog.claude_command, catalog.python),
    "demo": lambda catalog: DemoAgent(catalog.python, catalog.demo_start_s),
}
