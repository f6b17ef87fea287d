"""Reads what a git process says, no longer and no more than is wanted. ``command`` owns the process and ends it."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from dataclasses import dataclass, field

_POLL_S = 0.25
_CHUNK = 1 << 16


@dataclass(slots=True)
class Told:
    output: bytearray = field(default_factory=bytearray)
    error: bytearray = field(default_factory=bytearray)
    is_cut: bool = False
    """There may be more of ``output``, and the process may still run."""


def gather(process: subprocess.Popen[bytes], timeout_s: float, most_bytes: int | None) -> Told:
    """Output and errors until git has ended, even if a child that it left behind still holds them open.

    Raises ``subprocess.TimeoutExpired``.
    """
    told = Told()
    deadline_s = time.monotonic() + timeout_s
    gone_s: float | None = None
    with selectors.PollSelector() as selector:
        for stream, into in ((process.stdout, told.output), (process.stderr, told.error)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, into)
        while selector.get_map():
            _read_ready(selector)
            if most_bytes is not None and len(told.output) > most_bytes:
                del told.output[most_bytes:]
                told.is_cut = True
                return told
            if gone_s is None and process.poll() is not None:
                gone_s = time.monotonic()
            if gone_s is not None and time.monotonic() - gone_s > _POLL_S:
                return told
            if time.monotonic() > deadline_s:
                raise subprocess.TimeoutExpired(process.args, timeout_s)
    process.wait(max(0.0, deadline_s - time.monotonic()))
    return told


def _read_ready(selector: selectors.PollSelector) -> None:
    for key, _ in selector.select(_POLL_S):
        chunk = os.read(key.fd, _CHUNK)
        key.data.extend(chunk)
        if not chunk:
            selector.unregister(key.fileobj)
