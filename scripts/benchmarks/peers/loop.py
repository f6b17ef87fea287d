"""An event loop in a thread of its own, for the peers that are driven by coroutines; a context manager."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from scripts.benchmarks.peers.peer import CALL_S, PeerError

_Result = TypeVar("_Result")


class LoopThread:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Result], timeout_s: float = CALL_S) -> _Result:
        """Raises ``PeerError`` when it takes longer."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise PeerError(f"no answer within {timeout_s:.0f} s") from error

    def stop(self) -> None:
        """May be repeated."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
