"""Who is at the other end of a connection on the loopback interface.

A one-time link may be seen by other users of the machine, as the browser gets it on its command line. ``browser`` lets
only the team's own user use it up. Linux tells the user of each socket; where nothing tells, everybody may try.
"""

from __future__ import annotations

import os
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOOPBACK = "0100007F"
"""127.0.0.1, as the tables have it."""
_LOCAL, _REMOTE, _USER = 1, 2, 7
"""Columns of the tables."""
_ROOT = 0
"""Who carries connections of others, as sshd may."""


def is_own_user(client_port: int, server_port: int) -> bool:
    """Whether the client of this connection is a process of our user. Reads files: call it in a thread."""
    sockets = [line.split() for table in _TABLES for line in _lines(table)]
    server = _users(sockets, server_port, client_port)
    client = _users(sockets, client_port, server_port)
    return not server or bool(client & {os.getuid(), _ROOT})


def _users(sockets: list[list[str]], local_port: int, remote_port: int) -> set[int]:
    local, remote = (f"{_LOOPBACK}:{port:04X}" for port in (local_port, remote_port))
    return {
        int(each[_USER])
        for each in sockets
        if len(each) > _USER and each[_LOCAL].endswith(local) and each[_REMOTE].endswith(remote)
    }


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()[1:]
    except OSError:
        return []
