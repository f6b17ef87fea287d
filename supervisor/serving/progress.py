"""Progress of one call on its way to the client: the newest word, at most every ``EVERY_S``, and the last one.

``Connection`` makes one a call; all in one event loop. Words that come faster replace each other, and none is written
while the client has not read what was written before, so progress takes no memory however slowly it is read.
"""

from __future__ import annotations

import asyncio

from actors.sockets import pack

EVERY_S = 0.05


class Progress:
    def __init__(self, call_id: int, writer: asyncio.StreamWriter) -> None:
        self._call_id = call_id
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._unsent: tuple[int, int, str] | None = None
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, done: int, total: int, what: str) -> None:
        """A ``ProgressCallback``."""
        self._unsent = (done, total, what)
        if self._timer is None:
            self._timer = self._loop.call_at(self._next_at, self._send)

    def finish(self) -> bytes:
        """The last word if it is not sent yet, for whoever writes the answer."""
        if self._timer is not None:
            self._timer.cancel()
        return self._packed()

    def _send(self) -> None:
        self._next_at = self._loop.time() + EVERY_S
        self._timer = None
        if self._writer.transport.get_write_buffer_size() > 0:
            self._timer = self._loop.call_at(self._next_at, self._send)
        elif not self._writer.is_closing():
            self._writer.write(self._packed())
            self._unsent = None

    def _packed(self) -> bytes:
        if self._unsent is None:
            return b""
        done, total, what = self._unsent
        return pack({"id": self._call_id, "progress": {"done": done, "total": total, "what": what}})
