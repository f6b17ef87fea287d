"""The demo program as an agent: how it is started. It takes Claude Code's options and writes the same records.

``AgentCatalog`` makes a ``DemoAgent``; the program itself, a process of its own, never imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import Launch, LaunchRequest
from actors.agents.claude import start_files, start_options
from actors.agents.claude_records import ClaudeRecords
from actors.agents.names import AgentName

_CONTEXT_WINDOW = 200_000
DEMO_PROGRAM = Path(__file__).resolve().with_name("__main__.py")


@dataclass(frozen=True, slots=True)
class DemoAgent(ClaudeRecords):
    """``python`` runs the program and its hooks; ``start_s`` is how long it takes until its input box is usable."""

    python: str
    start_s: float = 0.0

    @property
    def name(self) -> AgentName:
        return "demo"

    @property
    def program(self) -> str:
        return self.python

    def context_window(self, model: str) -> int | None:
        return _CONTEXT_WINDOW

    @property
    def memory_mb(self) -> int:
        return 60  # measured: the program takes 12 MB, its actor 45

    def launch(self, request: LaunchRequest) -> Launch:
        own = {"PHALANX_DEMO_DIRECTORY": str(request.instance_directory), "PHALANX_DEMO_START_S": f"{self.start_s:g}"}
        return Launch(
            argv=(self.python, "-I", "-S", str(DEMO_PROGRAM), *start_options(request)),
            environment={**own, **request.environment},
            files=start_files(self.python, request),
        )
