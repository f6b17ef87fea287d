"""What a shell is told when somebody presses the tabulator, as its completion script asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PHALANX = str(Path(sys.executable).with_name("phalanx"))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("phalanx sp", {"spawn"}),
        ("phalanx mcp ", {"add", "remove"}),
        ("phalanx mcp add --sc", {"--scope"}),
        ("phalanx mcp add --scope ", {"user", "local", "project"}),
    ],
)
def test_commands_options_and_their_values_are_offered(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_PHALANX_COMPLETE": "complete_bash"}
    said = subprocess.run(
        [PHALANX], env={**os.environ, **words}, capture_output=True, text=True, timeout=60, check=False
    )
    assert set(said.stdout.split()) == offered, said.stderr
