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
"""By SQLite's primary result code. Every other code means that the file is not what this program wrote."""

_BY_ERRNO = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EIO: _BROKEN_DISK}


def damaged(path: Path, detail: str) -> StoreError:
    """``detail`` says what is damaged and where in the file."""
    return StoreError(_DAMAGED.format(path=path, detail=detail))


def in_words(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    if isinstance(error, OSError):
        words = _BY_ERRNO.get(error.errno or 0, _READ_ONLY)
        return StoreError(words.format(path=path, detail=error.strerror or error))
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    name: str = getattr(error, "sqlite_errorname", "")
    detail = f"{error} ({name})" if name else str(error)
    return StoreError(_BY_CODE.get(code & 0xFF, _DAMAGED).format(path=path, detail=detail))
