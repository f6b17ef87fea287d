"""What an agent was started with, as its launcher reads it."""

from __future__ import annotations

import os
from pathlib import Path

from actors.agents.launch import LAUNCH_NAME
from actors.agents.launcher import read_launch


def command_of(instance_directory: Path) -> list[str]:
    """The words of the command line of the agent's last start."""
    _, command, _, _ = read_launch((instance_directory / LAUNCH_NAME).read_bytes())
    return list(map(os.fsdecode, command))


def place_of(instance_directory: Path) -> Path:
    """Where the agent works."""
    return Path(os.fsdecode(read_launch((instance_directory / LAUNCH_NAME).read_bytes())[0]))
