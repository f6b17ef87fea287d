"""The form of the state file: its layout, checks of it, and its faults in words.

How the state file is laid out, and how a file of an older layout becomes one of the newest.

Every row carries a checksum, because SQLite itself notices a damaged page but not a damaged value.

Looks a state file over without changing it: may it be used, and where does it stand?

Did damage cut committed transactions out of SQLite's write-ahead log?

SQLite takes the first frame that does not match its checksum for the end of the log, because that is what a crash
leaves behind. But a crash leaves at most the one transaction that was being written. Where more than one stands behind
the end, the log was damaged, and SQLite would drop them without a word. Formats: sqlite.org/walformat.html.

What a failure of the state file is called for people: what happened, and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from actors.errors import StoreError
from supervisor.store.lineage import Position

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


_FULL = (
    "There is no space left for the team's state {path}. Nothing was written. Make room: the team goes on by itself."
)
_READ_ONLY = (
    "The team's state {path} cannot be written: {detail}. Nothing was written. "
    "Give the user who runs the team the right to write it and its directory."
)
_LOCKED = (
    "Another program has locked the team's state {path}. Nothing was written. Close what has the file open "
    "(a database browser, a backup), then try again."
)
_BROKEN_DISK = (
    "The disk refused to read or write the team's state {path}: {detail}. Nothing was written. "
    "Look at the system's log and at the disk; the team tries again with the next call."
)
_TOO_BIG = "A record is too big for the team's state {path}: {detail}. Nothing was written. Send less at once."
_REFUSED = (
    "SQLite refused to work on the team's state {path}: {detail}. Nothing was written. "
    "Try again; if it stays so, bring the team down and up again."
)
_DAMAGED = (
    "The team's state {path} is damaged: {detail}. It was left as it is; keep it. Then put a good copy in its place, "
    "or move it and its -wal and -shm files aside: the team starts from its copy in Redis, or empty if there is none."
)

_BY_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_IOERR: _BROKEN_DISK,
    sqlite3.SQLITE_NOMEM: _BROKEN_DISK,
    sqlite3.SQLITE_TOOBIG: _TOO_BIG,
}
"""By SQLite's primary result code."""
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_FORMAT,
}
"""The statements are always the same: where one does not fit the file, the file is not what this program wrote."""

_BY_ERRNO = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EIO: _BROKEN_DISK}


class DamagedFileError(StoreError):
    """The file is not what was written: a second copy, if there is one, can take its place."""


def damaged(path: Path, detail: str) -> DamagedFileError:
    """``detail`` says what is damaged and where in the file."""
    return DamagedFileError(_DAMAGED.format(path=path, detail=detail))


def in_words(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    if isinstance(error, OSError):
        words = _BY_ERRNO.get(error.errno or 0, _READ_ONLY)
        return StoreError(words.format(path=path, detail=error.strerror or error))
    code: int | None = getattr(error, "sqlite_errorcode", None)
    detail = str(error) if code is None else f"{error} ({error.sqlite_errorname})"
    primary = (code or 0) & 0xFF
    undecodable = code is None and isinstance(error, sqlite3.OperationalError)  # text in the file that is none
    if primary in _DAMAGE or undecodable:
        return damaged(path, detail)
    return StoreError(_BY_CODE.get(primary, _REFUSED).format(path=path, detail=detail))


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
    if schema_version(database) == LAYOUT:
        return
    database.execute("BEGIN IMMEDIATE")
    for script in _UPGRADES[schema_version(database) :]:
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


def schema_version(database: sqlite3.Connection) -> int:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


def _record_checksum(key: str, value: bytes | None, sequence: int) -> int:
    return zlib.crc32(value or b"", zlib.crc32(f"{key}/{sequence}/{value is None}".encode()))


def _team_checksum(lineage: str, epoch: int, sequence: int, deletions_known_after: int) -> int:
    return zlib.crc32(f"{lineage}/{epoch}/{sequence}/{deletions_known_after}".encode())


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
    with contextlib.closing(connect(path, read_only=True)) as database:
        database.execute("BEGIN")
        position = _check(database, path)
        if found := damage(path):
            raise damaged(path, found)
        return position


def _check(database: sqlite3.Connection, path: Path) -> Position:
    version = schema_version(database)
    if version > LAYOUT:
        raise StoreError(
            f"The team's state {path} was written by a newer Phalanx (layout {version}, this one knows "
            f"{LAYOUT}). It was left as it is. Use the newer Phalanx, or another PHALANX_HOME."
        )
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise damaged(path, "it is a database of another program, or its first page was overwritten")
    found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise damaged(path, "; ".join(line.replace("\n", " ") for line in found))
    for (key,) in database.execute(
        "SELECT key FROM records WHERE checksum IS NOT record_checksum(key, value, sequence)"
    ):
        raise damaged(path, f"the record {key} does not match its checksum")
    return position(database, path)
