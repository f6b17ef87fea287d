"""Runs a command that decides whether a merged tree is good, such as the tests of a project.

``BranchMerger`` calls ``run_check``. The command gets no shell and no terminal. It ends within its time limit, with all
that it has started, also when this process dies: ``timeout`` of coreutils watches it, and a mark in the environment of
all its processes tells whose they are.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from git.cmd import safer_popen

from actors.git.process import ProcessOutput, finish
from actors.marks import INSTANCE_MARK
from actors.processes import end_all_found, processes_with

_GRACE_S = 5.0
_LATE_S = 30.0
_TIMED_OUT = {124, 137, -signal.SIGKILL}
"""Statuses of ``timeout`` when the time is over: it ended the command, or had to kill it, or itself with it. A command
may end so by itself, before."""
_CANNOT_RUN = {126: "it may not be executed", 127: "there is no such program on the agents' PATH"}
MOST_SHOWN = 2_000
"""Characters from the end of its output."""


def run_check(command: Sequence[str], directory: Path, environment: Mapping[str, str], timeout_s: float) -> str:
    """Why it failed, with the end of its output; empty: it succeeded. All that it has started is ended."""
    begun_s = time.monotonic()
    limited = ["timeout", f"--kill-after={_GRACE_S:g}", f"{timeout_s:g}", *command]
    try:
        with ProcessOutput() as collector:
            process = safer_popen(
                limited,
                cwd=directory,
                env={**environment, INSTANCE_MARK: str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=collector.errors,
                stderr=collector.errors,
                start_new_session=True,
            )
            collector.hand_over()
            ended = finish(process, collector, timeout_s + _LATE_S, None)
    except subprocess.TimeoutExpired:
        return f"It was not done within {timeout_s:g} s."
    except OSError as error:
        return f"It could not be started: {error.strerror}."
    finally:
        end_all_found(lambda: processes_with(INSTANCE_MARK, str(directory)), _GRACE_S)
    if ended.status == 0:
        return ""
    reason = _reason(ended.status, timeout_s, is_late=time.monotonic() - begun_s >= timeout_s)
    return f"{reason} Its output ends:\n{ended.error[-MOST_SHOWN:].strip() or '(nothing)'}"


def _reason(status: int, timeout_s: float, *, is_late: bool) -> str:
    if status in _TIMED_OUT and is_late:
        return f"It was not done within {timeout_s:g} s."
    return f"It ended with exit status {status}{f': {why}' if (why := _CANNOT_RUN.get(status)) else ''}."
