"""Who listens on a Unix socket, and whether one can connect to it. Blocking; used by ``server``."""

from __future__ import annotations

import socket as sockets
import time
from pathlib import Path

import psutil

_POLL_S = 0.01


def listener(socket: Path) -> int | None:
    """The process that listens there, as the kernel knows it: also when the file has lost its name."""
    open_sockets = psutil.net_connections("unix")
    return next((found.pid for found in open_sockets if str(found.laddr) == str(socket) and found.pid), None)


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
