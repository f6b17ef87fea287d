"""The environment of every part: scratch directories, the real Claude Code, and teams of its own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.acceptance.team import Team, bring_up
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

CLAUDE = Path(".venv/claude/newest/node_modules/.bin/claude").absolute()
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Bench:
    claude: Path = CLAUDE

    def say(self, what: str) -> None:
        """Shows the current step on stderr."""
        console.print(f"  {what} …", markup=False)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory with a short path, which a home needs."""
        directory = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @asynccontextmanager
    async def team(self, **settings: str) -> AsyncIterator[Team]:
        """A team with the given environment variables; its Claude Code talks to a stand-in of the API."""
        with self.scratch() as directory, ApiStandIn() as api:
            environment = standin_environment(api.url, make_claude_home(directory / "user"))
            variables = {"PHALANX_CLAUDE_COMMAND": str(self.claude), **environment, **settings}
            team = await asyncio.to_thread(bring_up, directory, **variables)
            try:
                yield team
            finally:
                await asyncio.to_thread(team.runtime.down, lambda step: None)

    def claude_version(self) -> str:
        shown = subprocess.run([self.claude, "--version"], check=True, capture_output=True, text=True).stdout
        return shown.split()[0]
