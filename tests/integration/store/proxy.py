"""A TCP proxy between a client and a real server that can refuse, cut, delay, stall and garble."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_READ_BYTES = 65_536


@dataclass
class Faults:
    """What happens to what passes, from now on; changed by the test at any time."""

    delay_s: float = 0.0
    """Everything towards the server arrives that much later, in order."""
    stalled: bool = False
    """Nothing arrives any more, in either direction; it does once this is over."""
    cut_after_bytes: int | None = None
    """Towards the server, over all connections: then the connection is cut in the middle."""
    garbled_to_server: float = 0.0
    garbled_to_client: float = 0.0
    """How likely a piece that passes loses one of its bytes to another value."""
    random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311


class Proxy:
    """``start`` listens on ``port``; ``refuse`` stops listening and drops every connection."""

    def __init__(self, server_port: int) -> None:
        self.faults = Faults()
        self.port = 0
        self.garbled = 0
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()
        # What was on its way towards the server may still be delayed: it arrives.
        await asyncio.sleep(0)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(writer)
        up = asyncio.create_task(self._pass_up(reader, to_server))
        down = asyncio.create_task(self._pass_down(upstream, writer))
        self._tasks |= {up, down}
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                await asyncio.wait([up])
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self._tasks -= {up, down}
            self._writers.discard(writer)
            writer.transport.abort()
            to_server.close()

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the client has sent arrives, late if so, even when the client is gone by then."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def arrive() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._wait_while_stalled()
                await self._write(writer, data, self.faults.garbled_to_server)
                late.task_done()

        arriving = asyncio.create_task(arrive())
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_READ_BYTES):
                    left = self.faults.cut_after_bytes
                    if left is not None:
                        self.faults.cut_after_bytes = max(0, left - len(data))
                        if len(data) > left:
                            await self._write(writer, data[:left], 0.0)
                            return
                    late.put_nowait((loop.time() + self.faults.delay_s, data))
            await late.join()
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    async def _pass_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                await self._wait_while_stalled()
                await self._write(writer, data, self.faults.garbled_to_client)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, garbled: float) -> None:
        if garbled and self.faults.random.random() < garbled:
            self.garbled += 1
            place = self.faults.random.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << self.faults.random.randrange(8)]) + data[place + 1 :]
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()

    async def _wait_while_stalled(self) -> None:
        while self.faults.stalled:  # noqa: ASYNC110 - the test changes a plain value
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def proxy(server_port: int) -> AsyncIterator[Proxy]:
    made = Proxy(server_port)
    await made.start()
    try:
        yield made
    finally:
        await made.close()
