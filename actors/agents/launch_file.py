"""Prepares an instance's private directory for the start of its agent: for the host, which then runs the launcher.

The launch file says what the launcher is to start: strings that each end with a zero byte, as the kernel itself tells
command lines and environments, because the launcher can read that without importing anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from actors.agents import launcher
from actors.agents.base import Launch

LAUNCH_NAME = "launch"
KNOCK_NAME = "knock"

_NOT_INHERITED = (
    "AI_AGENT",
    "CLAUDECODE",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_EFFORT",
    "CLAUDE_ENV_FILE",
    "CLAUDE_PROJECT_DIR",
    "TRACEPARENT",
    "TMUX",
    "TMUX_PANE",
)
"""A Claude sets the first for what it starts; one that finds CLAUDE_CODE_CHILD_SESSION writes no transcript. Without
the last two a ``tmux kill-server`` of an agent does not end the team."""


def write_launch(
    instance_directory: Path,
    launch: Launch,
    working_directory: Path,
    *,
    python: str,
    remove: Sequence[str] = _NOT_INHERITED,
) -> tuple[str, ...]:
    """Writes all that the start needs, readable by its user only, and returns the command for the pane.

    ``remove`` names variables that the agent must not inherit; ``NAME*`` stands for all that begin so. May be called
    again for the same directory. Raises ``OSError``, and ``ValueError`` for what no process can be started with.
    """
    content = _content(launch, working_directory, remove)
    instance_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    instance_directory.chmod(0o700)
    knock = instance_directory / KNOCK_NAME
    if not knock.is_fifo():
        os.mkfifo(knock, 0o600)
    for path, text in launch.files.items():
        _write_private(path, text.encode())
    launch_file = instance_directory / LAUNCH_NAME
    _write_private(launch_file, content)
    return (python, "-I", "-S", str(Path(launcher.__file__).resolve()), str(launch_file))


def _content(launch: Launch, working_directory: Path, remove: Sequence[str]) -> bytes:
    added = launch.environment
    head = f"{len(launch.argv)} {len(remove)} {len(added)}"
    words = (head, str(working_directory), *launch.argv, *remove, *chain.from_iterable(added.items()))
    return b"".join(_ended(words))


def _ended(words: Iterable[str]) -> Iterable[bytes]:
    for word in words:
        if "\0" in word:
            raise ValueError("a zero byte is in the command line or the environment")
        yield os.fsencode(word) + b"\0"


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - opened with its mode above
        os.fchmod(descriptor, 0o600)
        file.write(content)
