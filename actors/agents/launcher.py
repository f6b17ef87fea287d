"""The pane's own process: takes on the agent's environment and becomes the agent.

Run as ``<python> -I -S launcher.py <path of the launch file>``, which ``launch`` has written. So no shell is ever
in the pane, and the environment with its secrets is in no command line. When the agent cannot be started it says why in
the pane and exits with 126 or 127, as shells do. It stands before the start of every agent, so it imports only what is
nearly free: ``json``, ``pathlib`` and ``signal`` would more than double its cost.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what ``signal`` is made of, without its names
import os
import sys

_CANNOT_START = 126
_NOT_FOUND = 127


def read_launch(data: bytes) -> tuple[bytes, list[bytes], list[bytes], dict[bytes, bytes]]:
    """Working directory, words of the command, variables to remove, variables to add. Raises ``ValueError``."""
    head, *words = data.split(b"\0")
    command, remove, added = map(int, head.split())
    if len(words) != 1 + command + remove + 2 * added + 1 or words[-1] or command < 1:
        raise ValueError("it was not written to its end")
    removed = 1 + command + remove
    environment = dict(zip(words[removed:-1:2], words[removed + 1 : -1 : 2], strict=True))
    return words[0], words[1 : 1 + command], words[1 + command : removed], environment


def _restore_signals() -> None:
    # Python ignores SIGPIPE, and what a process ignores or blocks its successor does too.
    for number in _signal.valid_signals():
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _refuse(reason: str, status: int = _CANNOT_START) -> int:
    print(f"phalanx: {reason}", flush=True)
    return status


def _become_agent(cwd: bytes, command: list[bytes], environment: dict[bytes, bytes]) -> int:
    """Returns only when the agent cannot be started: the exit status, after saying why."""
    program = os.fsdecode(command[0])
    try:
        os.chdir(cwd)
        here = os.getcwdb()  # noqa: PTH109 - the real path, without pathlib
    except OSError as error:
        return _refuse(f"cannot start {program!r} in {os.fsdecode(cwd)}: {error.strerror}")
    if here != cwd:  # a link has come in its place, perhaps since the host looked
        return _refuse(f"cannot start {program!r} in {os.fsdecode(cwd)}: it leads to {os.fsdecode(here)} now")
    _restore_signals()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is what this is for
    except FileNotFoundError:
        where = "no such file" if "/" in program else "not found on the PATH with which the team was brought up"
        return _refuse(f"cannot start {program!r}: {where}", _NOT_FOUND)
    except (OSError, ValueError) as error:
        return _refuse(f"cannot start {program!r}: {error}")


def main(launch_file: str) -> int:
    try:
        with open(launch_file, "rb") as file:  # noqa: PTH123 - pathlib would double the start-up cost
            cwd, command, remove, additions = read_launch(file.read())
    except (OSError, ValueError) as error:
        return _refuse(f"the launch file cannot be read: {error}")
    kept = {name: value for name, value in os.environb.items() if name not in remove}
    return _become_agent(cwd, command, {**kept, **additions})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
