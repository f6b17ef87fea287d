"""What a failure of the state file is called for people: what happened, and what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from actors.errors import StoreError

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
