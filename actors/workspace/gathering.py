"""Hears what a git process says, no longer and no more than is wanted. ``command`` owns the process and ends it.

Output goes into a file in memory, so that nobody need be woken for it. Complaints go through a pipe: hooks write there
too, may leave a child behind that holds it open for ever, and may open it anew, which would empty a file.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

_LOOK_S = 0.05
"""Between two looks at what nothing tells of by itself."""
_PIPE_BYTES = 1 << 16
"""All that one can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    output: bytes
    error: bytes
    is_cut: bool
    """There may be more of ``output``, and the process may still run."""


class Gathering:
    """What one process says. ``output`` and ``errors`` are for it to write to."""

    def __init__(self) -> None:
        """Raises ``OSError`` when no more files can be open, with none left open."""
        self.output = os.memfd_create("git-output")
        try:
            self._heard, self.errors = os.pipe()
        except OSError:
            os.close(self.output)
            raise
        self._error = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_over()
        os.close(self._heard)
        os.close(self.output)

    def hand_over(self) -> None:
        """The process has started: only it and its children hold ``errors`` from now on."""
        if self.errors >= 0:
            os.close(self.errors)
            self.errors = -1

    def until_end(self, process: subprocess.Popen[bytes], timeout_s: float, most_bytes: int | None) -> Told:
        """All that it has said until it has ended, even if a child that it left behind goes on.

        Raises ``subprocess.TimeoutExpired``.
        """
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._heard, select.POLLIN)
        with _end_of(process) as end:
            if end is not None:
                poll.register(end, select.POLLIN)
            looks = end is None or most_bytes is not None
            while (left_s := deadline_s - time.monotonic()) > 0:
                ready = {found for found, _ in poll.poll(1000 * (min(left_s, _LOOK_S) if looks else left_s))}
                if self._heard in ready and not self._hear():
                    poll.unregister(self._heard)
                if end in ready or self._is_too_much(most_bytes) or (end is None and process.poll() is not None):
                    return self._told(most_bytes)
        raise subprocess.TimeoutExpired(process.args, timeout_s)

    def _told(self, most_bytes: int | None) -> Told:
        os.set_blocking(self._heard, False)
        with suppress(BlockingIOError):
            self._hear()
        is_cut = self._is_too_much(most_bytes)
        size = most_bytes if is_cut and most_bytes is not None else self._size()
        return Told(output=os.pread(self.output, size, 0), error=bytes(self._error), is_cut=is_cut)

    def _hear(self) -> bool:
        """False once nobody can say anything any more."""
        chunk = os.read(self._heard, _PIPE_BYTES)
        self._error += chunk
        return bool(chunk)

    def _is_too_much(self, most_bytes: int | None) -> bool:
        return most_bytes is not None and self._size() > most_bytes

    def _size(self) -> int:
        return os.fstat(self.output).st_size


@contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A descriptor that is ready once it has ended; None where that is forbidden, as in some containers."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
