"""Looks a state file over without changing it: may it be used, and where does it stand?"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from actors.errors import StoreError
from supervisor.store import sqlite_log, sqlite_schema
from supervisor.store.sqlite_words import damaged
from supervisor.store.values import Position


def examine(path: Path) -> Position:
    """Reads the whole file and says where it stands; ``Position()`` when there is none.

    This process must have no other connection to it. Raises ``DamagedFileError`` when it is damaged or belongs to
    another program, ``StoreError`` when it is of a newer layout, ``sqlite3.Error`` or ``OSError`` when unreadable.
    """
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        if log.exists() and log.stat().st_size:
            raise damaged(path, f"it is missing, while its log {log.name} is there")
        return Position()
    if not path.stat().st_size:
        raise damaged(path, "it is empty")
    with contextlib.closing(sqlite_schema.connect(path, read_only=True)) as database:
        database.execute("BEGIN")
        position = _check(database, path)
        if found := sqlite_log.damage(path):
            raise damaged(path, found)
        return position


def _check(database: sqlite3.Connection, path: Path) -> Position:
    version = sqlite_schema.version(database)
    if version > sqlite_schema.LAYOUT:
        raise StoreError(
            f"The team's state {path} was written by a newer Phalanx (layout {version}, this one knows "
            f"{sqlite_schema.LAYOUT}). It was left as it is. Use the newer Phalanx, or another PHALANX_HOME."
        )
    if database.execute("PRAGMA application_id").fetchone()[0] != sqlite_schema.APPLICATION_ID:
        raise damaged(path, "it is a database of another program, or its first page was overwritten")
    found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise damaged(path, "; ".join(line.replace("\n", " ") for line in found))
    for (key,) in database.execute(
        "SELECT key FROM records WHERE checksum IS NOT record_checksum(key, value, sequence)"
    ):
        raise damaged(path, f"the record {key} does not match its checksum")
    return sqlite_schema.position(database, path)
