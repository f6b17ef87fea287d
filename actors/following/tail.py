"""Reading files that another program appends to: the spool of hook events and the agent's transcript.

Lines end with the byte ``\\n`` only: transcripts hold U+2028 raw, so text splitting would tear records apart. A last
line without its end is left for later. A file that shrank is read from its start again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PIECE_BYTES = 1 << 22


class Tail:
    """Complete lines of a growing file from ``offset`` (bytes) on; a missing file has none yet."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def read(self, limit_bytes: int | None = None) -> list[bytes]:
        """The lines that are complete and new, blank ones left out.

        ``limit_bytes`` bounds how much is read at once, but one complete line is always read.
        """
        try:
            if self.path.stat().st_size == self.offset:
                return []
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self.offset:
                    self.offset = 0
                file.seek(self.offset)
                data = file.read(-1 if limit_bytes is None else limit_bytes)
                if b"\n" not in data:
                    data += file.readline()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self.offset += end
        return [line for line in data[:end].split(b"\n") if line.strip()]

    def pieces(self) -> Iterator[list[bytes]]:
        """All lines that are complete and new, some megabytes at a time: a long life leaves long files."""
        read_to = -1
        while self.offset != read_to:
            read_to = self.offset
            if lines := self.read(_PIECE_BYTES):
                yield lines
