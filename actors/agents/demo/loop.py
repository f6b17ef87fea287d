"""The event loop of the demo, and the short-lived programs (hooks, git) that it starts.

Both are written by hand, because ``asyncio`` and ``subprocess`` would cost more than the rest of the demo's start.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import time
from collections.abc import Callable, Mapping

Callback = Callable[[], None]

_PIECE_BYTES = 65536


class EventLoop:
    """Waits for keys, signals, programs and timers; without any of them for ever."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callback] = {}
        self._timers: set[tuple[float, int, Callback]] = set()
        self._numbers = itertools.count()
        self._status: int | None = None

    def on_readable(self, descriptor: int, callback: Callback) -> None:
        self._readers[descriptor] = callback
        self._poll.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        del self._readers[descriptor]
        self._poll.unregister(descriptor)

    def on_signals(self, callbacks: Mapping[int, Callback]) -> None:
        """Calls back between events, never in the midst of one."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(read, False)
        signal.set_wakeup_fd(write)
        for number in callbacks:
            signal.signal(number, lambda *_: None)

        def arrived() -> None:
            for number in os.read(read, _PIECE_BYTES):
                callbacks[number]()

        self.on_readable(read, arrived)

    def later(self, seconds: float, callback: Callback) -> Callback:
        """Calls back once after ``seconds``; returns what cancels it."""
        timer = (time.monotonic() + seconds, next(self._numbers), callback)
        self._timers.add(timer)
        return lambda: self._timers.discard(timer)

    def stop(self, status: int) -> None:
        self._status = status

    def run(self) -> int:
        """Returns what ``stop`` was given."""
        while self._status is None:
            for descriptor, _ in self._poll.poll(self._timeout_ms()):
                if descriptor in self._readers and self._status is None:
                    self._readers[descriptor]()
            while self._status is None and self._timers and (due := min(self._timers))[0] <= time.monotonic():
                self._timers.discard(due)
                due[2]()
        return self._status

    def _timeout_ms(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, min(self._timers)[0] - time.monotonic()) * 1000 + 1


class ChildProcess:
    """A running program. Watch ``output`` for reading and call ``collect`` until it says that the program has ended."""

    def __init__(self, argv: tuple[str, ...], environment: Mapping[str, str], stdin: bytes) -> None:
        """Raises ``OSError`` when there is no such program."""
        input_read, input_write = os.pipe()
        self.output, output_write = os.pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, input_read, 0),
            (os.POSIX_SPAWN_DUP2, output_write, 1),
            (os.POSIX_SPAWN_DUP2, output_write, 2),
        ]
        try:
            self._pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True)
        finally:
            os.close(input_read)
            os.close(output_write)
        self.printed = b""
        self.status: int | None = None
        with contextlib.suppress(BrokenPipeError), open(input_write, "wb") as pipe:  # noqa: PTH123 - a descriptor
            pipe.write(stdin)

    def collect(self) -> bool:
        """Takes what was printed, waiting for it; True once the program has ended, which sets ``status``."""
        piece = os.read(self.output, _PIECE_BYTES)
        self.printed += piece
        if piece:
            return False
        os.close(self.output)
        _, wait_status = os.waitpid(self._pid, 0)
        self.status = os.waitstatus_to_exitcode(wait_status)
        return True

    def end(self) -> None:
        """Ends the program; ``collect`` goes on as before."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> bytes:
        """Waits for the end; what was printed."""
        while not self.collect():
            continue
        return self.printed
