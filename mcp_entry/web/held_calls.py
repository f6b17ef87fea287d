"""The calls that this process has not answered yet, held outside of it too: when it is killed, the next one makes them.

``app`` holds each call before anything of it is done, and lets go of it before the first byte of its answer is written.
The host's actor (``actors.host.endpoint``) connects to the private socket, is given the listening socket and all calls,
hears of each further one, and gives all that it has itself. Those that were left over by the process before are served
as if they had come anew (``taken_over``), marked as calls that may have been begun before. Calls beyond ``MOST_CALLS``
and ``MOST_BYTES``, and those that came while no actor could take them, die with the process and the actor.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Scope, Send

from actors.concurrency import TaskSet
from actors.host.endpoint import GREETING
from actors.host.open_calls import (
    ID_BYTES,
    MOST_BYTES,
    MOST_CALLS,
    OpenCall,
    give,
    receive,
    send,
    tell_answered,
)

logger = logging.getLogger(__name__)
_ARRIVED = "phalanx.arrived"
"""In the scope of a request."""
_TELL_S = 1.0
"""An actor that does not read for so long is let go. It connects again."""
_COMES_S = 2.0
_END_S = 1.0
_REMEMBERED = 10 * MOST_CALLS
_NOT_REPLAYED = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class HeldCalls:
    """All methods belong to one event loop."""

    def __init__(self, *, keeper_comes: bool = False) -> None:
        """``keeper_comes``: an actor has started this process and connects soon, so the first calls wait for it."""
        self._met = asyncio.Event()
        if not keeper_comes:
            self._met.set()
        self._calls: dict[bytes, OpenCall] = {}
        self._answered: dict[bytes, None] = {}
        """The latest ones. An actor that was away when they were answered still has them."""
        self._bytes = 0
        self._keepers: set[_Keeper] = set()
        self._tasks = TaskSet("keeper of open calls")

    async def serve(
        self, private: sockets.socket, listener: sockets.socket, taken_over: Callable[[OpenCall], None]
    ) -> None:
        """Serves the private socket until it is cancelled. ``taken_over`` is told of each call that was left over; it
        must not close it."""
        loop = asyncio.get_running_loop()
        private.setblocking(False)
        try:
            while True:
                channel, _ = await loop.sock_accept(private)
                self._tasks.begin(self._serve_keeper(_Keeper(channel), listener, taken_over))
        finally:
            await self._tasks.end(within_s=_END_S)

    @asynccontextmanager
    async def call(self, scope: Scope) -> AsyncIterator[HeldCall]:
        """One request, which is let go at the end."""
        arrived = scope.get(_ARRIVED)
        call = HeldCall(self, scope, arrived if isinstance(arrived, _Arrived) else None)
        try:
            yield call
        finally:
            await call.let_go()

    async def hold(self, call: OpenCall) -> None:
        """``call`` is closed when it is let go."""
        self._calls[call.call_id] = call
        self._bytes += call.size_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMES_S):
                await self._met.wait()
        self._met.set()
        await self._tell(lambda channel: give(channel, call))

    async def let_go(self, call_id: bytes) -> None:
        call = self._calls.pop(call_id)
        self._bytes -= call.size_bytes
        self._answered[call_id] = None
        if len(self._answered) > _REMEMBERED:
            del self._answered[next(iter(self._answered))]
        try:
            await self._tell_answered(call_id)
        finally:
            call.close()

    def has_room(self, size_bytes: int) -> bool:
        return len(self._calls) < MOST_CALLS and self._bytes + size_bytes <= MOST_BYTES

    async def _serve_keeper(
        self, keeper: _Keeper, listener: sockets.socket, taken_over: Callable[[OpenCall], None]
    ) -> None:
        try:
            async with keeper.telling:  # nothing comes before the greeting
                self._keepers.add(keeper)
                async with asyncio.timeout(_TELL_S):
                    await send(keeper.channel, GREETING, [listener.fileno()])
                    for call in list(self._calls.values()):
                        await give(keeper.channel, call)
            self._met.set()
            while (told := await receive(keeper.channel)) is not None:
                if isinstance(told, OpenCall):
                    if told.call_id in self._calls:
                        told.close()
                        continue
                    if told.call_id in self._answered:
                        told.close()
                        await self._tell_answered(told.call_id)
                        continue
                    self._calls[told.call_id] = told
                    self._bytes += told.size_bytes
                    taken_over(told)
        except (OSError, TimeoutError):  # who only looks whether it runs is gone already
            pass
        finally:
            self._keepers.discard(keeper)
            with suppress(OSError):
                keeper.channel.shutdown(sockets.SHUT_RDWR)
            async with keeper.telling:  # nobody waits for the channel any more
                keeper.channel.close()

    async def _tell_answered(self, call_id: bytes) -> None:
        await self._tell(lambda channel: tell_answered(channel, call_id))

    async def _tell(self, message: Callable[[sockets.socket], Awaitable[None]]) -> None:
        for keeper in list(self._keepers):
            try:
                async with asyncio.timeout(_TELL_S), keeper.telling:
                    await message(keeper.channel)
            except (OSError, TimeoutError):
                with suppress(OSError):  # ends its task
                    keeper.channel.shutdown(sockets.SHUT_RDWR)


class HeldCall:
    """One request of an agent. Made by ``HeldCalls.call``."""

    def __init__(self, calls: HeldCalls, scope: Scope, arrived: _Arrived | None) -> None:
        self._calls = calls
        self._scope = scope
        self._arrived = arrived
        self._id = secrets.token_bytes(ID_BYTES)
        self._is_held = False
        if arrived is not None and arrived.taken_over is not None:
            self._id = arrived.taken_over.call_id
            self._is_held = True

    @property
    def key(self) -> str:
        """The same when another process makes the call again."""
        return self._id.hex()

    @property
    def may_have_begun(self) -> bool:
        """Whether a process that was killed may have begun it."""
        return self._arrived is not None and self._arrived.taken_over is not None

    async def hold(self, body: bytes) -> None:
        """From now on the call outlives this process."""
        if self._is_held or self._arrived is None:
            return
        request = _request(self._scope, body)
        if not self._calls.has_room(len(request)):
            logger.warning("a call is not held beside this process: too many are under way")
            return
        try:
            call = OpenCall.made(self._id, self._arrived.connection.fileno(), request)
        except OSError as error:
            logger.warning("a call is not held beside this process: %s", error)
            return
        self._is_held = True
        await self._calls.hold(call)

    async def let_go(self) -> None:
        if self._is_held:
            self._is_held = False
            await self._calls.let_go(self._id)

    def answering(self, send_on: Send) -> Send:
        """Lets go of the call before anything is sent, and sends the head of an answer together with its body."""
        head: list[Message] = []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.append(message)
                return
            await self.let_go()
            if head:
                await send_on(head.pop())
            await send_on(message)

        return sending


@dataclass(frozen=True, slots=True)
class _Arrived:
    connection: Any
    """asyncio's socket."""
    taken_over: OpenCall | None


def arrived_by(scope: Any, connection: Any, taken_over: OpenCall | None) -> None:
    """Notes in the scope of a request where it came from."""
    scope[_ARRIVED] = _Arrived(connection, taken_over)


class _Keeper:
    """Who connected to the private socket."""

    def __init__(self, channel: sockets.socket) -> None:
        channel.setblocking(False)
        self.channel = channel
        self.telling = asyncio.Lock()


def _request(scope: Scope, body: bytes) -> bytes:
    """The request as it can be read again."""
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    headers = [(name, value) for name, value in scope["headers"] if name not in _NOT_REPLAYED]
    headers.append((b"content-length", str(len(body)).encode()))
    first = scope["method"].encode() + b" " + target + b" HTTP/1.1"
    return b"\r\n".join([first, *(name + b": " + value for name, value in headers), b"", body])
