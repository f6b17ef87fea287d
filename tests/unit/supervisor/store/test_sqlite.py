from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from supervisor.store.sqlite import in_words

PATH = Path("/home/someone/state.db")


def sqlite_error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("as SQLite says it")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_NAME"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), "no space left"),
        (sqlite_error(sqlite3.SQLITE_READONLY), "cannot be written: as SQLite says it"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), "cannot be written: as SQLite says it"),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), "disk refused"),
        (sqlite_error(sqlite3.SQLITE_BUSY), "locked"),
        (sqlite_error(sqlite3.SQLITE_MISUSE), "SQLite refused"),
        (sqlite3.ProgrammingError("a value of no known type"), "SQLite refused"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError(errno.EACCES, "Permission denied"), "cannot be written: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written: Read-only file system"),
        (OSError(errno.EIO, "Input/output error"), "disk refused"),
    ],
    ids=repr,
)
def test_a_failure_names_the_file_and_is_no_damage(error: sqlite3.Error | OSError, words: str) -> None:
    said = in_words(error, PATH)

    assert str(PATH) in str(said)
    assert "is damaged" not in str(said)
    assert words in str(said)
    assert "Nothing was written" in str(said)


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError),
        sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.DatabaseError),
        sqlite_error(sqlite3.SQLITE_NOTADB, sqlite3.DatabaseError),
        sqlite_error(sqlite3.SQLITE_ERROR),
        sqlite3.OperationalError("Could not decode to UTF-8 column 'key'"),
    ],
    ids=repr,
)
def test_damage_is_told_apart_and_says_what_to_do(error: sqlite3.Error) -> None:
    said = in_words(error, PATH)

    assert f"{PATH} is damaged: {error}" in str(said)
    assert "keep it" in str(said)
    assert f"Move it and every {PATH.name}-* aside" in str(said)
