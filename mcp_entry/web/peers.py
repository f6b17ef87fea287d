"""Who is at the other end of a connection on the loopback interface.

A one-time link may be seen by other users of the machine, as the browser gets it on its command line. A browser sends a
session's cookie to every port of 127.0.0.1, so what another user serves there may read it. ``browser`` lets only the
team's own user use either. Linux tells the user of each socket in the tables of ``/proc``; where nothing tells,
everybody may try.
"""

from __future__ import annotations

import os
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""A socket for both versions of IP is in the second one."""
_LOOPBACK = "0100007F"
"""127.0.0.1, as the tables have it."""
_LOCAL, _REMOTE, _STATE, _USER = 1, 2, 3, 7
"""Columns of the tables."""
_ESTABLISHED = "01"
"""In some other states a socket has no user any more, and 0 stands in the table."""
_ROOT = 0
"""Who carries connections of others, as sshd may."""
_LOOKS = 2
"""The kernel writes a table in parts: one that comes or goes meanwhile may hide another one."""


def is_own_user(client_port: int, server_port: int) -> bool:
    """Whether the client of this connection, which is open, is a process of our user. Reads files, which takes some
    milliseconds: call it in a thread."""
    for _ in range(_LOOKS):
        users = _users(client_port, server_port)
        if users is None or users & {os.getuid(), _ROOT}:
            return True
    return False


def _users(client_port: int, server_port: int) -> set[int] | None:
    """None where no table can be read."""
    is_told = False
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()
        except OSError:
            continue
        is_told = True
        if found := _users_in(lines, client_port, server_port):
            return found
    return set() if is_told else None


def _users_in(lines: list[str], client_port: int, server_port: int) -> set[int]:
    client, server = (f"{_LOOPBACK}:{port:04X}" for port in (client_port, server_port))
    sockets = (line.split() for line in lines if client in line)
    return {
        int(each[_USER])
        for each in sockets
        if len(each) > _USER
        and each[_LOCAL].endswith(client)
        and each[_REMOTE].endswith(server)
        and each[_STATE] == _ESTABLISHED
    }
