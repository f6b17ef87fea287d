"""The load of this machine, from files of the kernel; one reading takes well under a millisecond.

``Host.load`` gives it to admission control and metrics. A memory limit of this process's control group counts where it
is below the machine's memory.
"""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_IDLE_COLUMNS = (3, 4)
"""Columns of the first line of ``/proc/stat``: idle and waiting for a disk."""
_GUEST_COLUMNS = 8
"""Columns from here on are already counted in earlier ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """One reading. ``cpu_busy_s`` and ``cpu_total_s`` sum all cores since boot: the difference of two readings is the
    load in between."""

    host: str
    cpus: int
    load_1m: float
    """Processes that run or wait for a core or a disk, averaged over a minute."""
    cpu_busy_s: float
    cpu_total_s: float
    memory_total_bytes: int
    memory_available_bytes: int
    disk_available_bytes: int
    """Where the home is."""


class LoadMeter:
    def __init__(self, home: Path, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._home = home
        self._proc = proc
        self._cgroups = cgroups

    def read(self) -> HostLoad:
        busy_s, total_s = self._cpu()
        total, available = self._memory()
        return HostLoad(
            host=socket.gethostname(),
            cpus=len(os.sched_getaffinity(0)),
            load_1m=float((self._proc / "loadavg").read_text().split()[0]),
            cpu_busy_s=busy_s,
            cpu_total_s=total_s,
            memory_total_bytes=total,
            memory_available_bytes=available,
            disk_available_bytes=shutil.disk_usage(self._home).free,
        )

    def _cpu(self) -> tuple[float, float]:
        first = (self._proc / "stat").read_text().partition("\n")[0]
        ticks = [int(number) for number in first.split()[1:]][:_GUEST_COLUMNS]
        idle = sum(ticks[column] for column in _IDLE_COLUMNS)
        per_second = os.sysconf("SC_CLK_TCK")
        return (sum(ticks) - idle) / per_second, sum(ticks) / per_second

    def _memory(self) -> tuple[int, int]:
        machine = self._machine_memory()
        limit = self._group_memory()
        if limit is None or limit[0] >= machine[0]:
            return machine
        return limit[0], min(machine[1], limit[1])

    def _machine_memory(self) -> tuple[int, int]:
        found = {}
        for line in (self._proc / "meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * 1024
        return found["MemTotal"], found["MemAvailable"]

    def _group_memory(self) -> tuple[int, int] | None:
        """Limit and free memory of this process's control group (version 2); None without a limit."""
        with suppress(OSError, ValueError):
            group = self._cgroups / (self._proc / "self/cgroup").read_text().partition("::/")[2].strip()
            limit = int((group / "memory.max").read_text())  # "max" is no number
            used = int((group / "memory.current").read_text()) - _reclaimable(group / "memory.stat")
            return limit, max(0, limit - used)
        return None


def _reclaimable(stat: Path) -> int:
    """Bytes of cached files, which the kernel gives up first."""
    return sum(int(line.split()[1]) for line in stat.read_text().splitlines() if line.startswith("inactive_file "))
