"""Files that go along with an instance: its conversation, as the agent has written it. Every function blocks.

Such a file only grows. A copy is brought up to date by asking for what comes after its end.
"""

from __future__ import annotations

from pathlib import Path

from actors.errors import WorkspaceError
from actors.travel.values import PIECE_BYTES


def read_from(path: Path, offset: int) -> bytes:
    """At most ``PIECE_BYTES`` from ``offset``; empty at the end, and when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""


def size_of(path: Path) -> int:
    """0 when there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def write_at(path: Path, offset: int, piece: bytes) -> None:
    """Raises ``WorkspaceError`` when the file cannot be written. It is for its user alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "xb") as file:
            path.chmod(0o600)
            file.seek(offset)
            file.write(piece)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}.") from error
