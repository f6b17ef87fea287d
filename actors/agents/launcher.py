"""The pane's own process: takes on the agent's environment and becomes the agent.

``write_launch`` is for the host: it prepares an instance's private directory and returns the command for the pane. Run
as a program (``<python> -I -S launcher.py <path of launch.json>``, standard library only) this module reads that file
and replaces itself by the agent. So no shell is ever in the pane, and the environment with its secrets is in no
command line. When the agent cannot be started it says why in the pane and exits with 126 or 127, as shells do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # as a program this module finds nothing but the standard library
    from actors.agents.base import Launch

LAUNCH_NAME = "launch.json"
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

_CANNOT_START = 126
_NOT_FOUND = 127


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
    again for the same directory. Raises ``OSError``.
    """
    instance_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    instance_directory.chmod(0o700)
    knock = instance_directory / KNOCK_NAME
    if not knock.is_fifo():
        os.mkfifo(knock, 0o600)
    for path, text in launch.files.items():
        _write_private(path, text)
    plan = {
        "argv": list(launch.argv),
        "environment": dict(launch.environment),
        "remove": list(remove),
        "cwd": str(working_directory),
    }
    launch_file = instance_directory / LAUNCH_NAME
    _write_private(launch_file, json.dumps(plan))
    return (python, "-I", "-S", str(Path(__file__).resolve()), str(launch_file))


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - opened with its mode above
        os.fchmod(descriptor, 0o600)
        file.write(text)


def built_environment(own: Mapping[str, str], remove: Sequence[str], additions: Mapping[str, str]) -> dict[str, str]:
    """``own`` without what ``remove`` names, with ``additions``."""
    names = {entry for entry in remove if not entry.endswith("*")}
    prefixes = tuple(entry[:-1] for entry in remove if entry.endswith("*"))
    kept = {name: value for name, value in own.items() if name not in names and not name.startswith(prefixes)}
    return {**kept, **additions}


def _restore_signals() -> None:
    # Python ignores SIGPIPE, and what a process ignores or blocks its successor does too.
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _refuse(reason: str, status: int = _CANNOT_START) -> int:
    print(f"phalanx: {reason}", flush=True)
    return status


def _become_agent(plan: Mapping[str, Any]) -> int:
    """Returns only when the agent cannot be started: the exit status, after saying why."""
    program, cwd = plan["argv"][0], plan["cwd"]
    environment = built_environment(os.environ, plan["remove"], plan["environment"])
    try:
        os.chdir(cwd)
    except OSError as error:
        return _refuse(f"cannot start {program!r} in {cwd}: {error.strerror}")
    _restore_signals()
    try:
        os.execvpe(program, plan["argv"], environment)  # noqa: S606 - no shell is what this is for
    except FileNotFoundError:
        where = "no such file" if "/" in program else "not found on the PATH with which the team was brought up"
        return _refuse(f"cannot start {program!r}: {where}", _NOT_FOUND)
    except (OSError, ValueError) as error:
        return _refuse(f"cannot start {program!r}: {error}")


def main(launch_file: str) -> int:
    try:
        plan = json.loads(Path(launch_file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return _refuse(f"the launch file cannot be read: {error}")
    return _become_agent(plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
