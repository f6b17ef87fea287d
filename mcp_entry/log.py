"""The entry's logs, for whoever looks for what went wrong: its own, which ``__main__`` opens, and that of bringing up.

Entries come and go for as long as the home is there, many at a time, so no log may grow for ever: one that is full is
kept under the name with ``.1``, in place of the one before, and begun anew.
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
    """Everything that this process logs or warns of goes to ``path`` (0600). Raises ``OSError``."""
    handler = SharedLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("mcp_entry").setLevel(logging.INFO)
    logging.captureWarnings(True)


def make_room(path: Path, full_bytes: int = FULL_BYTES) -> None:
    """Before a program appends to the log: sets it aside when it is full. Who writes to it already writes on there."""
    with suppress(OSError):  # it is no reason not to start
        if path.stat().st_size >= full_bytes:
            path.replace(_old(path))


class SharedLog(RotatingFileHandler):
    """A private file to which several entries write. When one of them begins it anew the others follow."""

    def __init__(self, path: Path, full_bytes: int = FULL_BYTES) -> None:
        """Raises ``OSError``."""
        super().__init__(path, maxBytes=full_bytes, backupCount=1, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", errors=self.errors, opener=_private)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the library's name
        if self.stream is not None and not self._is_there(self.stream):
            self.stream.close()
            self.stream = self._open()
        if self.stream is not None:
            self.stream.seek(0, os.SEEK_END)  # Python 3.13 asks for our own position, and others have written since
        return bool(super().shouldRollover(record))

    def _is_there(self, stream: TextIOWrapper) -> bool:
        """Whether the file of our name is the one that we write to."""
        try:
            found, ours = Path(self.baseFilename).stat(), os.fstat(stream.fileno())
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
