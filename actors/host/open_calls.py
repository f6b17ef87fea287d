"""Calls of instances that are not answered yet, as the endpoint's process and the host's actor give them to each other.

An ``OpenCall`` is two open files: the connection of the agent, and the whole request in memory of the kernel. Both
outlive the process that has them open, as long as another one has them too. So the actor holds what the process works
on, and gives it to the next process when that one was killed.

On the channel between them (``HOME/web.sock``) every message is ``MESSAGE_BYTES`` long: a sign and the call's id.
``GIVEN`` comes with the two files, in either direction; ``ANSWERED`` from the process, before the first byte of an
answer is written. A message is sent whole or not at all.
"""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

ID_BYTES = 16
MESSAGE_BYTES = 1 + ID_BYTES
MOST_CALLS = 1000
"""That are held at a time; each takes two open files of the actor."""
MOST_BYTES = 64_000_000
"""Of their requests together."""
GIVEN = b"+"
ANSWERED = b"-"


@dataclass(frozen=True, slots=True)
class OpenCall:
    call_id: bytes
    connection: int
    """An open file of its own, as ``request``: who made or received this ends it with ``close``."""
    request: int
    size_bytes: int

    @classmethod
    def made(cls, call_id: bytes, connection: int, request: bytes) -> Self:
        """Raises ``OSError``."""
        file = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(request)
            return cls(call_id, os.dup(connection), file, len(request))
        except BaseException:
            os.close(file)
            raise

    def read(self) -> bytes:
        """The request. Raises ``OSError``."""
        return os.pread(self.request, self.size_bytes, 0)

    def duplicate(self) -> int:
        """The connection as an open file of the caller's own. Raises ``OSError``."""
        return os.dup(self.connection)

    def close(self) -> None:
        os.close(self.connection)
        os.close(self.request)


async def give(channel: sockets.socket, call: OpenCall) -> None:
    """Raises ``OSError``."""
    await send(channel, GIVEN + call.call_id, [call.connection, call.request])


async def tell_answered(channel: sockets.socket, call_id: bytes) -> None:
    """Raises ``OSError``."""
    await send(channel, ANSWERED + call_id)


async def send(channel: sockets.socket, message: bytes, files: Sequence[int] = ()) -> None:
    """Waits without limit while the other side does not read. Raises ``OSError``."""
    while True:
        try:
            sockets.send_fds(channel, [message], files)
        except BlockingIOError:
            loop = asyncio.get_running_loop()
            await _ready(channel, loop.add_writer, loop.remove_writer)
        else:
            return


async def receive(channel: sockets.socket) -> OpenCall | bytes | None:
    """The next message: a call that is given, or the id of one that is answered; None at the end.

    Raises ``OSError``.
    """
    while True:
        try:
            message, files, _, _ = sockets.recv_fds(channel, MESSAGE_BYTES, 2, sockets.MSG_CMSG_CLOEXEC)
            break
        except BlockingIOError:
            await readable(channel)
    sign, call_id = message[:1], message[1:]
    if sign == GIVEN and len(files) == 2:
        return OpenCall(call_id, files[0], files[1], os.fstat(files[1]).st_size)
    for file in files:
        os.close(file)
    if not message:
        return None
    if len(message) != MESSAGE_BYTES or sign not in (GIVEN, ANSWERED):
        raise ConnectionResetError("what came is no message about a call")
    return call_id  # also of a call for whose files this process had no room: it cannot be held


async def readable(channel: sockets.socket) -> None:
    loop = asyncio.get_running_loop()
    await _ready(channel, loop.add_reader, loop.remove_reader)


async def _ready(channel: sockets.socket, add: Callable[..., None], remove: Callable[[sockets.socket], object]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(channel, _wake, ready)
    try:
        await ready
    finally:
        with suppress(ValueError):  # it was closed meanwhile
            remove(channel)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
