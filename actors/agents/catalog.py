"""Which kinds of agent there are."""

from __future__ import annotations

from dataclasses import dataclass

from actors.agents.base import Agent
from actors.agents.claude import ClaudeAgent
from actors.agents.demo.agent import DemoAgent
from actors.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCatalog:
    """Makes agents by name. ``python`` runs hooks and the demo program; ``demo_start_s`` is in seconds."""

    claude_command: str
    python: str
    demo_start_s: float = 0.0

    def command(self, name: str) -> str:
        """What starts the program of the agent ``name``."""
        return self.claude_command if name == "claude" else self.python

    def named(self, name: str) -> Agent:
        """Raises ``InvalidRequestError`` for a name that no agent has."""
        agents: tuple[Agent, ...] = (
            ClaudeAgent(self.claude_command, self.python),
            DemoAgent(self.python, self.demo_start_s),
        )
        for agent in agents:
            if agent.name == name:
                return agent
        known = " or ".join(agent.name for agent in agents)
        raise InvalidRequestError(f"There is no agent {name!r}: use {known}.")
