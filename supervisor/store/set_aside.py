"""Moves a damaged state file out of the way, so that a good copy can take its place. Nothing of it is deleted."""

from __future__ import annotations

from pathlib import Path

from supervisor.store.sqlite_file import sync_directory
from supervisor.store.sqlite_lock import StateLock

_PARTS = ("", "-wal", "-shm")


def set_aside(path: Path) -> Path:
    """The new name of the file. Raises ``StateHeldError`` when another supervisor has it, ``OSError``."""
    lock = StateLock(path.with_name(f"{path.name}.lock"))
    lock.take()
    try:
        number = 1
        while any(_aside(path, number, part).exists() for part in _PARTS):
            number += 1
        for part in _PARTS:
            old = path.with_name(path.name + part)
            if old.exists():
                old.rename(_aside(path, number, part))
        sync_directory(path.parent)
        return _aside(path, number, "")
    finally:
        lock.release()


def _aside(path: Path, number: int, part: str) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}{part}")
