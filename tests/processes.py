"""Processes that tests look at and kill while they come and go. What ends meanwhile is left out and never an error."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import is_running, mark_of, name_of, processes_with
from supervisor.runtime.environment import TOKEN_VARIABLE
from supervisor.team.file import read_team


def of_team(home: Home) -> list[psutil.Process]:
    """All that carry the mark of the home's team; none when there is no team."""
    team = read_team(home)
    return [] if team is None else processes_with(TEAM_MARK, team.team_id)


def of_ray(home: Home) -> list[psutil.Process]:
    """Those of the team's Ray: agents and the tmux server do not know where its token is."""
    token = str(home.ray_token_file)
    return [each for each in of_team(home) if mark_of(each, TOKEN_VARIABLE) == token]


def called(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Those whose program has this name or whose title begins with it; an actor's title is its class."""
    return [each for each in processes if name_of(each) == name or title_of(each).startswith(name)]


def title_of(process: psutil.Process) -> str:
    """The first word of the command line; empty when the process has ended."""
    return next(iter(command_of(process)), "")


def command_of(process: psutil.Process) -> list[str]:
    """The words of the command line; none when the process has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Empty when the process has ended."""
    with suppress(psutil.Error):
        return process.environ()
    return {}


def session_of(process: psutil.Process) -> int | None:
    """None when the process has ended."""
    with suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return None


def tell(processes: Iterable[psutil.Process], number: int = signal.SIGKILL) -> None:
    """Sends each the signal."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def runs(pid: int) -> bool:
    """One that only waits for its parent to notice its end does not."""
    try:
        return is_running(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def ends(pid: int, within_s: float = 10.0) -> bool:
    """Whether it runs no more before the time is up."""
    deadline = time.monotonic() + within_s
    while runs(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
