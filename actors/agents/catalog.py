"""Which kinds of agent there are: Claude Code, and the demo, which behaves like it without a model behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Agent, Launch, LaunchRequest
from actors.agents.claude import ClaudeAgent, settings_file, settings_text, start_options
from actors.agents.claude_records import ClaudeRecords
from actors.errors import InvalidRequestError

DEMO_PROGRAM = Path(__file__).resolve().parent / "demo" / "__main__.py"


@dataclass(frozen=True, slots=True)
class DemoAgent(ClaudeRecords):
    """Takes the same options and settings as Claude Code and writes the same records.

    ``start_s`` is how long the program takes until its input box is usable, in seconds.
    """

    python: str
    start_s: float = 0.0

    @property
    def name(self) -> str:
        return "demo"

    def launch(self, request: LaunchRequest) -> Launch:
        """Raises ``InvalidRequestError`` for a model or mode that is none."""
        own = {"PHALANX_DEMO_DIRECTORY": str(request.instance_directory), "PHALANX_DEMO_START_S": f"{self.start_s:g}"}
        return Launch(
            argv=(self.python, "-I", "-S", str(DEMO_PROGRAM), *start_options(request)),
            environment={**own, **request.environment},
            files={settings_file(request.instance_directory): settings_text(self.python, request)},
        )


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
        if name == "claude":
            return ClaudeAgent(self.claude_command, self.python)
        if name == "demo":
            return DemoAgent(self.python, self.demo_start_s)
        raise InvalidRequestError(f"There is no agent {name!r}: use claude or demo.")
