"""The log files of the entry: its own, which ``__main__`` opens, and ``up.log``, to which ``connection`` appends.

Many entries write to one file over the life of a home. A log of ``FULL_BYTES`` is renamed to ``NAME.1``, which replaces
the one before, and a new file is begun.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
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


class SharedLog(WatchedFileHandler):
    """A private file to which several entries write. When one of them rotates it, the others open the new file."""

    def __init__(self, path: Path, full_bytes: int = FULL_BYTES) -> None:
        """Raises ``OSError``."""
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._full_bytes = full_bytes

    def emit(self, record: logging.LogRecord) -> None:
        make_room(Path(self.baseFilename), self._full_bytes)
        super().emit(record)

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", errors=self.errors, opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
