"""The log files of the entry: its own, which ``__main__`` opens, and ``up.log``, to which ``connection`` appends.

Many entries write to one file over the life of a home. A log of ``FULL_BYTES`` is renamed to ``NAME.1``, which replaces
the one before, and a new file is begun.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

FULL_BYTES = 1_000_000


def log_to(path: Path) -> None:
    """Sends log records and warnings of this process to ``path`` (0600). Raises ``OSError``."""
    handler = SharedLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("mcp_entry").setLevel(logging.INFO)
    logging.captureWarnings(True)


def make_room(path: Path, full_bytes: int = FULL_BYTES) -> None:
    """Rotates the log when it is full, before a program appends to it. Programs that have it open keep the old file."""
    with suppress(OSError):  # a full log must not stop the program
        if path.stat().st_size >= full_bytes:
            path.replace(path.with_name(f"{path.name}.1"))


class SharedLog(RotatingFileHandler):
    """A private file to which several entries write. When one of them rotates it, the others open the new file."""

    def __init__(self, path: Path, full_bytes: int = FULL_BYTES) -> None:
        """Raises ``OSError``."""
        super().__init__(path, maxBytes=full_bytes, backupCount=1, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", errors=self.errors, opener=_private)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the library's name
        if self.stream is not None and not self._is_current(self.stream):
            self.stream.close()
            self.stream = self._open()
        if self.stream is not None:
            self.stream.seek(0, os.SEEK_END)  # Python 3.13 asks for our own position, and others have written since
        return bool(super().shouldRollover(record))

    def _is_current(self, stream: TextIOWrapper) -> bool:
        """Whether the file at our path is the one that ``stream`` writes to."""
        try:
            found, ours = Path(self.baseFilename).stat(), os.fstat(stream.fileno())
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
