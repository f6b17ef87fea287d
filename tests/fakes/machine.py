"""A machine with programs on PATH and a HOME, on which commands look around and change things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.terminal import Terminal


class Machine(Terminal):
    """A machine with programs on PATH and a HOME, all below one directory."""

    def __init__(self, directory: Path, *programs: str) -> None:
        super().__init__()
        self.user_home = directory / "user"
        self.bin = directory / "bin"
        for made in (self.user_home, self.bin):
            made.mkdir(parents=True)
        for name in programs:
            (self.bin / name).touch(mode=0o755)
        self.home = directory / "home"
        self.environment |= {"HOME": str(self.user_home), "PATH": str(self.bin), "PHALANX_HOME": str(self.home)}

    def write_config(self, **content: Any) -> None:
        (self.user_home / ".claude.json").write_text(json.dumps(content))

    def examine(self) -> dict[str, dict[str, str]]:
        said = self("doctor", "--json")
        document = json.loads(said.stdout)
        assert (said.exit_code == 0) is document["ok"]
        return {finding["what"]: finding for finding in document["findings"]}
