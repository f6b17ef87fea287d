"""The demo program as an agent: behaves like Claude Code in a real pane, without a model behind it.

It takes the same options and settings, writes the same events and transcript and shows the same screen, so everything
is read by the same code. See ``program`` for what it can be told to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Launch, LaunchRequest
from actors.agents.claude import settings_file, settings_text, start_options
from actors.agents.claude_records import ClaudeRecord

PROGRAM = Path(__file__).resolve().with_name("__main__.py")


@dataclass(frozen=True, slots=True)
class DemoAgent(ClaudeRecord):
    """``start_s`` is how long the program takes until its input box is usable, in seconds."""

    python: str
    start_s: float = 0.0

    @property
    def name(self) -> str:
        return "demo"

    def launch(self, request: LaunchRequest) -> Launch:
        """Raises ``InvalidRequestError`` for a model or mode that is none."""
        own = {"PHALANX_DEMO_DIRECTORY": str(request.instance_directory), "PHALANX_DEMO_START_S": f"{self.start_s:g}"}
        return Launch(
            argv=(self.python, "-I", "-S", str(PROGRAM), *start_options(request)),
            environment={**own, **request.environment},
            files={settings_file(request.instance_directory): settings_text(self.python, request)},
        )
