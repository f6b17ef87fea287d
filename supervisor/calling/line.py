"""One open connection from a client to the gateway: calls side by side, each answered by its id.

``SupervisorClient`` opens one and another when it is lost. All in one event loop.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from actors.errors import from_wire
from actors.sockets import FrameError, pack, read_frame
from supervisor.api.verbs import LOOKING, ProgressCallback

_OPEN_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_READ_AHEAD_BYTES = 1 << 20


class NotSentError(ConnectionError):
    """The connection had ended before anything of the call was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    answer: asyncio.Future[Any]
    on_progress: ProgressCallback


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use ``open``."""
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self.team_version = ""
        """Empty until the gateway has said it, which it does before its first answer; one of before says none."""
        self.has_answered = False
        self._reading = asyncio.create_task(self._read(), name="answers of the gateway")

    @classmethod
    async def open(cls, socket: Path, hello: Mapping[str, str | int]) -> Self:
        """Raises ``OSError`` when it cannot be reached."""
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_READ_AHEAD_BYTES)
        writer.write(pack({"hello": dict(hello)}))
        return cls(reader, writer)

    @property
    def closed(self) -> bool:
        return self._reading.done() or self._writer.is_closing()

    async def ended(self) -> None:
        """Returns when the connection has ended, whoever ended it."""
        await asyncio.wait([self._reading])

    async def call(self, verb: str, params: Mapping[str, Any], on_progress: ProgressCallback, timeout_s: float) -> Any:
        """The result of the verb.

        Raises the ``PhalanxError`` that came instead, ``TimeoutError``, ``ConnectionError`` when the connection ends
        first (``NotSentError`` when nothing was sent), and ``FrameError`` when the request cannot be sent. After a
        timeout only a looking verb is cancelled.
        """
        call_id = next(self._ids)
        frame = pack({"id": call_id, "verb": verb, "params": params})
        call = _Call(answer=asyncio.get_running_loop().create_future(), on_progress=on_progress)
        self._calls[call_id] = call
        call.answer.add_done_callback(_noticed)
        try:
            async with asyncio.timeout(timeout_s):
                self._write(frame)
                await self._writer.drain()
                return await call.answer
        except asyncio.CancelledError:
            self._cancel(call_id)
            raise
        except TimeoutError:
            if verb in LOOKING:
                self._cancel(call_id)
            raise
        finally:
            del self._calls[call_id]

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])  # which, unlike the task itself, only raises when the caller is cancelled
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()

    def _write(self, data: bytes) -> None:
        if self.closed:
            raise NotSentError
        self._writer.write(data)

    def _cancel(self, call_id: int) -> None:
        with suppress(ConnectionError):
            self._write(pack({"cancel": call_id}))

    async def _read(self) -> None:
        reason: Exception = ConnectionResetError("the connection ended")
        try:
            while (frame := await read_frame(self._reader)) is not None:
                if "hello" in frame:
                    self.team_version = str(frame["hello"].get("version", ""))
                    continue
                if "id" not in frame:
                    reason = from_wire(frame["error"])
                    break
                self._take(frame)
        except (FrameError, OSError) as error:
            reason = ConnectionResetError(str(error))
        finally:
            self._writer.close()
            for call in self._calls.values():
                if not call.answer.done():
                    call.answer.set_exception(reason)

    def _take(self, frame: Mapping[str, Any]) -> None:
        self.has_answered = True
        call = self._calls.get(frame["id"])
        if call is None or call.answer.done():
            return
        if "progress" in frame:
            self._tell(call, frame["progress"])
        elif "error" in frame:
            call.answer.set_exception(from_wire(frame["error"]))
        else:
            call.answer.set_result(frame["result"])

    def _tell(self, call: _Call, progress: Mapping[str, Any]) -> None:
        """A caller whose callback fails learns it from its own call; the others go on."""
        try:
            call.on_progress(progress["done"], progress["total"], progress["what"])
        except Exception as error:  # noqa: BLE001 - handed to the caller
            call.answer.set_exception(error)


def _noticed(answer: asyncio.Future[Any]) -> None:
    """A connection that ends while the request is still being written fails both: the second is no news."""
    if not answer.cancelled():
        answer.exception()
