"""How the state file is laid out, and how a file of an older layout becomes one of the newest.

Every row carries a checksum, because SQLite itself notices a damaged page but not a damaged value.
"""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

from supervisor.store.sqlite_words import damaged
from supervisor.store.values import Position

BUSY_TIMEOUT_S = 5.0
"""How long another program's lock on the file is waited for."""
APPLICATION_ID = 0x50484C58
_UPGRADES = (
    """
    CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB, sequence INTEGER NOT NULL, checksum INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE INDEX records_by_sequence ON records (sequence);
    CREATE INDEX tombstones ON records (sequence) WHERE value IS NULL;
    CREATE TABLE team (
        lineage TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
        deletions_known_after INTEGER NOT NULL, checksum INTEGER NOT NULL
    );
    INSERT INTO team VALUES (lower(hex(randomblob(16))), 0, 0, 0, 0);
    UPDATE team SET checksum = team_checksum(lineage, epoch, sequence, deletions_known_after);
    """,
)
"""The n-th script makes layout n + 1 of layout n; an empty database is layout 0. What is read before an upgrade, the
version and the columns of ``position``, stays the same in every layout."""
LAYOUT = len(_UPGRADES)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection without transactions of its own making, for the thread that calls this."""
    mode = "ro" if read_only else "rw"
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    database.create_function("record_checksum", 3, _record_checksum, deterministic=True)
    database.create_function("team_checksum", 4, _team_checksum, deterministic=True)
    return database


def upgrade(database: sqlite3.Connection) -> None:
    """Brings the layout to the newest one, in one transaction."""
    if version(database) == LAYOUT:
        return
    database.execute("BEGIN IMMEDIATE")
    for script in _UPGRADES[version(database) :]:
        for statement in script.split(";"):
            database.execute(statement)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {LAYOUT}")
    database.execute("COMMIT")


def position(database: sqlite3.Connection, path: Path) -> Position:
    """Raises ``StoreError`` when the row that says it is damaged."""
    rows = database.execute(
        "SELECT lineage, epoch, sequence FROM team "
        "WHERE checksum IS team_checksum(lineage, epoch, sequence, deletions_known_after)"
    ).fetchall()
    if len(rows) != 1:
        raise damaged(path, "the row that says how new it is does not match its checksum")
    lineage, epoch, sequence = rows[0]
    return Position(lineage=lineage, epoch=epoch, sequence=sequence)


def version(database: sqlite3.Connection) -> int:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


def _record_checksum(key: str, value: bytes | None, sequence: int) -> int:
    return zlib.crc32(value or b"", zlib.crc32(f"{key}/{sequence}/{value is None}".encode()))


def _team_checksum(lineage: str, epoch: int, sequence: int, deletions_known_after: int) -> int:
    return zlib.crc32(f"{lineage}/{epoch}/{sequence}/{deletions_known_after}".encode())
