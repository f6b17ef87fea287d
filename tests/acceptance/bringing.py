"""The process by which an entry brings a team up, with an owner: in a test nothing that was begun outlives it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from mcp_entry.connection import BringUpProcess

_END_S = 10.0


@dataclass(frozen=True, kw_only=True)
class OwnedBringUp(BringUpProcess):
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def end(self) -> None:
        """Of a team that it was just bringing up, what is there so far stays, for whoever brings the team down."""
        for process in self.started:
            process.kill()
            process.wait(_END_S)

    def _start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        self.started.append(super()._start(command, log))
        return self.started[-1]
