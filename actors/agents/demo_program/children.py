"""Starts short-lived programs (hooks, git) and collects what they print; never through a library that costs a start."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping

_PIECE_BYTES = 65536


class Child:
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
