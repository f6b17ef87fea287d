"""A TCP proxy between a client and a real server that can delay what passes and cut connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_READ_BYTES = 65_536


class Proxy:
    """Set the attributes at any time; they hold for what passes from then on."""

    def __init__(self, server_port: int) -> None:
        self.delay_s = 0.0
        """Everything towards the server arrives that much later, in order."""
        self.cut_after_bytes: int | None = None
        """Towards the server, over all connections: then the connection is cut in the middle."""
        self._server_port = server_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one connection on, until either side ends it."""
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            down = asyncio.create_task(self._pass_down(from_server, writer))
            try:
                await self._pass_up(reader, to_server)
            finally:
                down.cancel()
                to_server.close()
        writer.transport.abort()

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the client has sent arrives, late if so, even when the client is gone by then."""
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                writer.write(data)
                late.task_done()

        arriving = asyncio.create_task(arrive())
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_READ_BYTES):
                    if self.cut_after_bytes is not None:
                        left = self.cut_after_bytes
                        self.cut_after_bytes = max(0, left - len(data))
                        if len(data) > left:
                            writer.write(data[:left])
                            await writer.drain()
                            return
                    late.put_nowait((loop.time() + self.delay_s, data))
            await late.join()
        finally:
            arriving.cancel()

    async def _pass_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy(server_port: int) -> AsyncIterator[tuple[Proxy, str]]:
    """The proxy, and the URL of a Redis behind it."""
    made = Proxy(server_port)
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    try:
        yield made, f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    finally:
        listener.close()
