"""A Unix socket that nobody but its user can connect to: what the gateway listens on, and a relay of another host."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from pathlib import Path

from actors.errors import SettingsError

_PROBE_TIMEOUT_S = 2.0


def listen(path: Path) -> sockets.socket:
    """A listening socket at ``path``: made under another name and private before it can be connected to, then renamed,
    so that clients find the old or the new one, never none."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        listener.bind(str(unfinished))
        unfinished.chmod(0o600)
        listener.listen(sockets.SOMAXCONN)
        unfinished.replace(path)
    except OSError as error:
        listener.close()
        unfinished.unlink(missing_ok=True)
        raise SettingsError(f"No socket can be made at {path}: {error}. Set PHALANX_HOME elsewhere.") from error
    return listener


def check_is_socket(path: Path) -> None:
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{path} is not a socket: move it away, then start the team again.")


async def is_answered(path: Path) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except (OSError, TimeoutError):
        return True
    writer.close()
    return True
