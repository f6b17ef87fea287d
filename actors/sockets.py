"""Private Unix sockets and the frames on the gateway's socket.

The gateway, the relays of other hosts and the git server listen with ``listen``: only the user can connect. A frame is
four bytes of length (big-endian), then a msgpack map. The client says ``hello``, then makes calls; each is answered by
its id. A relay passes the bytes on unchanged::

    client                                   gateway
    {"hello": {"sender", "version",
               "protocol"}}                  {"hello": {"version", "protocol"}}, if the client names a protocol
    {"id", "verb", "params"}                 {"id", "progress": {"done", "total", "what"}}, any number of times
                                             {"id", "result"} or {"id", "error": {"code", "message"}}
    {"cancel": id}
                                             {"error": {"code", "message"}}: no id, the connection ends
"""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from actors.errors import PhalanxError, SettingsError

_PROBE_TIMEOUT_S = 2.0
MAX_FRAME_BYTES = 64_000_000
_LENGTH = struct.Struct(">I")


def listen(path: Path) -> sockets.socket:
    """A listening socket at ``path``. It is made private under another name and then renamed, so that clients find the
    old or the new socket, never none. Raises ``SettingsError``."""
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
        raise SettingsError(f"No socket can be created at {path}: {error}. Set PHALANX_HOME elsewhere.") from error
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


class FrameError(PhalanxError):
    """Not a frame, or a frame longer than ``MAX_FRAME_BYTES``."""

    code = "frame"


def pack(frame: Mapping[str, Any]) -> bytes:
    """The frame as bytes. Raises ``FrameError`` when it cannot be sent."""
    try:
        body: bytes = msgpack.packb(frame)
    except (ValueError, TypeError, OverflowError) as error:
        raise FrameError(f"this cannot be sent: {error}") from error
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(
            f"this takes {len(body) / 1e6:.0f} MB, at most {MAX_FRAME_BYTES / 1e6:.0f} MB can be sent at once: "
            "send it in parts."
        )
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next frame, or None at the end. After a ``FrameError`` nothing more can be read."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise FrameError("the connection ended within a frame") from None
        return None
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes was announced, at most {MAX_FRAME_BYTES} are possible")
    try:
        frame = msgpack.unpackb(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        raise FrameError("the connection ended within a frame") from None
    except ValueError as error:
        raise FrameError(f"a frame is not msgpack: {error}") from error
    if not isinstance(frame, dict):
        raise FrameError("a frame is not a map")
    return frame
