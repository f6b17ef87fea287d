"""Who listens on a Unix socket, and whether one can connect to it. Blocking; used by ``server``."""

from __future__ import annotations

import os
import socket as sockets
import time
from contextlib import suppress
from pathlib import Path

import psutil

_POLL_S = 0.01


def listener(socket: Path) -> int | None:
    """The process that listens there, as the kernel knows it: also when the file has lost its name.

    A child that the process has forked and that runs no program yet holds the socket as well: the parent is told.
    """
    inodes = _inodes_of(os.fsencode(socket))
    holders = {pid for pid in psutil.pids() if inodes and _holds(pid, inodes)}
    return next((pid for pid in sorted(holders) if _parent_of(pid) not in holders), None)


def _inodes_of(socket: bytes) -> set[bytes]:
    """As in the links of ``/proc/PID/fd``."""
    rows = (line.split(maxsplit=7) for line in Path("/proc/net/unix").read_bytes().splitlines())
    return {b"socket:[%b]" % row[6] for row in rows if len(row) == 8 and row[7] == socket}


def _holds(pid: int, inodes: set[bytes]) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        for descriptor in os.listdir(b"/proc/%d/fd" % pid):  # noqa: PTH208 - of every process
            with suppress(OSError):
                if os.readlink(b"/proc/%d/fd/%b" % (pid, descriptor)) in inodes:  # noqa: PTH115
                    return True
    return False


def _parent_of(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return None


def is_reachable_within(socket: Path, patience_s: float, pid: int | None = None) -> bool:
    """Whether somebody can connect before the time, or the process ``pid``, has ended."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and (pid is None or psutil.pid_exists(pid)):
        if _connects(socket):
            return True
        time.sleep(_POLL_S)
    return False


def _connects(socket: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket))
        except OSError:
            return False
    return True
