"""Did damage cut committed transactions out of SQLite's write-ahead log?

SQLite takes the first frame that does not match its checksum for the end of the log, because that is what a crash
leaves behind. But a crash leaves at most the one transaction that was being written. Where more than one stands behind
the end, the log was damaged, and SQLite would drop them without a word. Formats: sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_INDEX_HEADER_BYTES = 48


def damage(path: Path) -> str:
    """What is damaged in the log of the database, for people; empty when nothing is known to be.

    The caller has a read transaction open on the database, and this process no other connection to it: closing a file
    drops the locks that the process has on it.
    """
    log = _read(path.with_name(f"{path.name}-wal"))
    index = _read(path.with_name(f"{path.name}-shm"))
    if len(log) <= _HEADER_BYTES or len(index) < 2 * _INDEX_HEADER_BYTES:
        return ""
    if not _header_is_whole(log):
        return f"the header of its log {path.name}-wal does not match its checksum"
    first, second = index[:_INDEX_HEADER_BYTES], index[_INDEX_HEADER_BYTES : 2 * _INDEX_HEADER_BYTES]
    if first != second or first[32:40] != log[16:24]:
        return ""  # a running supervisor is just writing it
    (valid_frames,) = struct.unpack_from("=I", first, 16)
    lost = sum(number > valid_frames for number in _commits(log))
    if lost < 2:
        return ""
    return f"its log {path.name}-wal is whole only through frame {valid_frames}, but {lost} transactions follow"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _header_is_whole(log: bytes) -> bool:
    order = ">" if log[3] & 1 else "<"
    words = struct.unpack_from(f"{order}6I", log)
    first = second = 0
    for one, other in list(pairwise(words))[::2]:
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack_from(">2I", log, 24)


def _commits(log: bytes) -> Iterator[int]:
    """The number of each frame that ends a transaction since the log was last begun anew."""
    (page_bytes,) = struct.unpack_from(">I", log, 8)
    size = _FRAME_HEADER_BYTES + page_bytes
    for number, start in enumerate(range(_HEADER_BYTES, len(log) - size + 1, size), start=1):
        (pages_after_commit,) = struct.unpack_from(">I", log, start + 4)
        if pages_after_commit and log[start + 8 : start + 16] == log[16:24]:
            yield number
