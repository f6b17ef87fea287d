"""Reads SQLite's log as its format is documented, to see in a test what was committed together."""

from __future__ import annotations

import struct
from pathlib import Path

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def commits(path: Path) -> int:
    """How many transactions the log of the database holds. Only for a log that was never begun anew."""
    log = log_of(path).read_bytes()
    (page_bytes,) = struct.unpack_from(">I", log, 8)
    frames = range(HEADER_BYTES, len(log), FRAME_HEADER_BYTES + page_bytes)
    return sum(struct.unpack_from(">I", log, frame + 4)[0] != 0 for frame in frames)
