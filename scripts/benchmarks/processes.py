"""CPU time and memory of a team's processes, by kind, from /proc. Agents are not counted.

The parts ``idle`` and ``messages`` use it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import processes_with
from supervisor.team.file import read_team

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
OURS = ("instances", "supervisor", "host", "tmux")
"""Kinds of processes whose cost is Phalanx's own; ``ray`` is what Ray itself runs."""


def processes_of(home: Home) -> dict[str, list[psutil.Process]]:
    """The processes of the team that runs there, by kind."""
    team = read_team(home)
    if team is None:
        raise RuntimeError("the team has no file")
    found: dict[str, list[psutil.Process]] = {}
    for process in processes_with(TEAM_MARK, team.team_id):
        with suppress(psutil.Error):
            kind = "tmux" if process.pid == team.tmux_pid else _kind(process.cmdline())
            if kind:
                found.setdefault(kind, []).append(process)
    return found


def _kind(command: Sequence[str]) -> str:
    """Empty for an agent and its children."""
    name = command[0] if command else ""
    titles = {"ray::InstanceServer": "instances", "ray::_SupervisorServer": "supervisor", "ray::_HostServer": "host"}
    kind = next((kind for title, kind in titles.items() if name.startswith(title)), "")
    return kind or ("ray" if "/ray/" in name or name.startswith("ray::") else "")


def cpu_s(processes: Mapping[str, Sequence[psutil.Process]]) -> Counter[str]:
    """Seconds of CPU so far, by kind, with those of children that have ended."""
    return Counter({kind: sum(map(_cpu_s, members)) for kind, members in processes.items()})


def _cpu_s(process: psutil.Process) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return (user + system + children_user + children_system) * _TICK_S


def exact_cpu_s(process: psutil.Process) -> float:
    """Of the threads of one process, from a counter of nanoseconds: an idle one uses less than one tick of the other
    counters. Raises ``psutil.NoSuchProcess`` when it has ended."""
    nanoseconds = 0
    try:
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # this thread ends just now
                nanoseconds += int((thread / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    return nanoseconds / 1e9


async def cpu_percent(process: psutil.Process, work: Awaitable[object]) -> float:
    """Of one core, while the work is done."""
    before, begun = exact_cpu_s(process), time.monotonic()
    await work
    return (exact_cpu_s(process) - before) / (time.monotonic() - begun) * 100


def pss_mb(process: psutil.Process) -> float:
    """Proportional set size in MB: shared pages are divided among the processes that share them."""
    return float(process.memory_full_info().pss) / 2**20
