"""The authoritative store of a team's state: a SQLite file in its home, durable when a call returns, without a server.

From top to bottom: ``SqliteStore``, which the supervisor uses; ``OpenedState``, which one supervisor at a time has; the
layout; the checks of file and log; errors in words. One thread of the store does all work on the file, so the event
loop never waits for a disk. Writes that wait while another one is made durable are committed together. Each of them is
still whole or not at all, and in the order of the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
import secrets
import sqlite3
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from typing import ParamSpec, TypeVar

from actors.errors import FencedError, StateHeldError, StoreError
from actors.files import FileLock, rename_durably
from supervisor.store import keys
from supervisor.store.base import MayBegin, StoreHealth, always, origin_in_words

logger = logging.getLogger(__name__)
BUSY_TIMEOUT_S = 5.0
"""How long a call waits for another program's lock on the file."""
_PATIENCE_S = 30.0
"""A disk that takes longer counts as one that does not answer."""
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
    """
    DELETE FROM records WHERE value IS NULL OR key = 'copies/sessions';
    DROP INDEX tombstones;
    DROP INDEX records_by_sequence;
    """,
)
"""Script n (from 0) makes layout n + 1 of layout n; an empty database is layout 0. The version and the columns that
``position`` reads are read before an upgrade, so they stay: ``deletions_known_after`` is left over from layout 1.
"""
LAYOUT = len(_UPGRADES)
_SAVE = (
    "INSERT INTO records VALUES (?1, ?2, ?3, record_checksum(?1, ?2, ?3)) ON CONFLICT (key) DO UPDATE "
    "SET value = excluded.value, sequence = excluded.sequence, checksum = excluded.checksum"
)
_DELETE = "DELETE FROM records WHERE key = ?1"
_READ = "SELECT key, value, checksum IS record_checksum(key, value, sequence) FROM records"
_MOVE = (
    "UPDATE team SET lineage = ?1, epoch = ?2, sequence = ?3, "
    "checksum = team_checksum(?1, ?2, ?3, deletions_known_after)"
)
_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_INDEX_HEADER_BYTES = 48
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
    "The team's state {path} is damaged: {detail}. It was left as it is; keep it. Move it and every {path.name}-* "
    "aside. Then put a good copy in its place; or, where the settings name a Redis, bring back what that one has: "
    "`phalanx restore --from-redis`."
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
_BY_ERRNO = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EIO: _BROKEN_DISK}
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_FORMAT,
}
"""The statements are always the same: when one does not fit the file, this program did not write the file."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a state has got."""

    lineage: str = ""
    """Random, made with the state and again by each restore: earlier writers can write no more."""
    epoch: int = 0
    """Of the last writer; each supervisor that opens the state takes a higher one. 0 is an empty state."""
    sequence: int = 0
    """The number of writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One durable write, for a mirror."""

    sequence: int
    """Of the state after the write; each is one more than the one before."""
    records: Mapping[str, bytes | None]
    """None stands for a deleted record."""


class SqliteStore:
    """A ``StateStore``. Every call raises ``StoreError`` before ``open`` and after ``close``."""

    def __init__(
        self,
        path: Path,
        *,
        patience_s: float = _PATIENCE_S,
        may_begin: MayBegin = always,
        on_commit: Callable[[Sequence[Change]], None] | None = None,
    ) -> None:
        """``on_commit`` is called in the store's thread, in the order of the writes, when they are durable."""
        self._path = path
        self._state = OpenedState(path)
        self._patience_s = patience_s
        self._may_begin = may_begin
        self._on_commit = on_commit
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[_Write] = deque()
        self._failure = ""
        self._origin = ""

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(description=f"SQLite{self._origin}", warning=self._failure)

    @property
    def position(self) -> Position:
        """After the last durable write."""
        return self._state.position

    async def open(self) -> int:
        if self._thread is not None:
            raise StoreError(f"The team's state {self._path} is open already.")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state-writer")
        # Both are new, because the thread of an earlier opening may still be busy with the old ones.
        self._state = OpenedState(self._path)
        self._waiting = deque()
        try:
            await self._run(self._state.open)
            if self.position.sequence == 0:
                await self._may_begin()
            self._origin = origin_in_words((await self.load(keys.RESTORED)).get(keys.RESTORED, b""))
        except BaseException:
            with contextlib.suppress(StoreError):  # the next opening must not find the lock still held
                await self.close()
            raise
        self._failure = ""
        return self._state.position.epoch

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        """As the protocol says. A key in both is deleted. When the disk hangs in the middle, it is not known whether
        anything was written; then the error says so."""
        write = _Write(records=dict(records), delete=tuple(delete))
        thread = self._opened()
        self._waiting.append(write)
        thread.submit(self._commit_waiting, self._state, self._waiting)
        await self._bounded(write.made)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return await self._run(self._state.load, prefix)

    async def close(self) -> None:
        """Makes waiting writes durable first."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        closed = asyncio.wrap_future(thread.submit(self._in_words, self._state.close))
        thread.shutdown(wait=False)
        await asyncio.wait({closed}, timeout=self._patience_s)  # a close, unlike other work, is never cancelled
        if not closed.done():
            raise self._no_answer("It is closed as soon as the disk answers")
        await closed

    def _commit_waiting(self, state: OpenedState, waiting: deque[_Write]) -> None:
        """Runs in the thread, once for each write: commits all waiting writes in one transaction. It finds none when an
        earlier run committed them."""
        group = []
        while waiting:
            write = waiting.popleft()
            if write.made.set_running_or_notify_cancel():
                group.append(write)
        if group:
            self._commit(state, group)

    def _commit(self, state: OpenedState, group: Sequence[_Write]) -> None:
        try:
            changes = self._in_words(state.write, group)
        except Exception as error:  # noqa: BLE001 - the caller that waits for this write gets it
            if len(group) == 1:
                self._failure = str(error)
                group[0].made.set_exception(error)
                return
            for write in group:  # one write that fails must not make the others fail
                self._commit(state, [write])
            return
        self._failure = ""
        try:
            if self._on_commit is not None:
                self._on_commit(changes)
        except Exception:
            logger.exception("durable writes of the team's state %s could not be passed on", self._path)
        for write in group:
            write.made.set_result(None)

    def _in_words(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return work(*args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            raise in_words(error, self._path) from error

    async def _run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._bounded(self._opened().submit(lambda: self._in_words(work, *args, **kwargs)))

    async def _bounded(self, future: Future[_T]) -> _T:
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            known = "Nothing was written" if future.cancel() else "Whether this was written is not known"
            raise self._no_answer(known) from None

    def _no_answer(self, what_is_known: str) -> StoreError:
        return StoreError(
            f"The disk with the team's state {self._path} has not answered for {self._patience_s:g} s. "
            f"{what_is_known}. Look at the disk; the team goes on when it answers."
        )

    def _opened(self) -> ThreadPoolExecutor:
        if self._thread is None:
            raise StoreError(f"The team's state {self._path} is not open. Nothing was written.")
        return self._thread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    records: Mapping[str, bytes]
    delete: Sequence[str]
    made: Future[None] = field(default_factory=Future)


class OpenedState:
    """The state from one opening to its closing. Owns the lock, the connection and the file's modes.

    Its calls block; ``SqliteStore`` makes them in one thread.

    Every write is one transaction that first checks that the file still has our epoch, so a supervisor that was
    replaced cannot write even where locks do not work. Raises ``sqlite3.Error`` and ``OSError`` as they come, and
    ``StoreError`` where this class can say more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = StateLock(path)
        self._database: sqlite3.Connection | None = None
        self._opened_as: tuple[int, int] | None = None
        self.position = Position()

    def open(self) -> None:
        """Takes the file, creates it when there is none, and writes an epoch above every earlier one."""
        self._lock.take()
        try:
            examine(self.path)
            if not self.path.exists():
                create(self.path, Position(lineage=secrets.token_hex(16)), {})
            for name in (self.path.name, f"{self.path.name}-wal", f"{self.path.name}-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(name).chmod(0o600)
            database = self._connected()
            upgrade(database)
            self.position = position(database, self.path)
            with self._transaction():
                self._move(dataclasses.replace(self.position, epoch=self.position.epoch + 1))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """No-op when it is not open."""
        try:
            if self._database is not None:
                self._database.close()
        finally:
            self._database = None
            self._lock.release()

    def write(self, writes: Sequence[_Write]) -> list[Change]:
        """Makes each write in turn, all in one transaction or none."""
        changes: list[Change] = []
        with self._transaction() as database:
            for sequence, write in enumerate(writes, start=self.position.sequence + 1):
                database.executemany(_SAVE, [(key, value, sequence) for key, value in write.records.items()])
                database.executemany(_DELETE, [(key,) for key in write.delete])
                changes.append(Change(sequence=sequence, records={**write.records, **dict.fromkeys(write.delete)}))
            self._move(dataclasses.replace(self.position, sequence=changes[-1].sequence))
        return changes

    def load(self, prefix: str) -> dict[str, bytes]:
        """The records under the prefix, in the order of their keys."""
        query = f"{_READ} WHERE key >= ?1 ORDER BY key"
        with contextlib.closing(self.database.execute(query, [prefix])) as rows:  # the last ones are not read
            return _records(takewhile(lambda row: row[0].startswith(prefix), rows), self.path)

    def _connected(self) -> sqlite3.Connection:
        self._database = database = connect(self.path, read_only=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        self._opened_as = _identity(self.path)
        return database

    def _keep_in_place(self) -> None:
        """Writes a file anew that was removed while it was open: what is durable must be found again."""
        found = _identity(self.path)
        if found == self._opened_as:
            return
        if found is not None:
            raise StoreError(
                f"Another file was put in the place of the team's state {self.path} while the team uses it. Nothing "
                "was written. Put the first one back; or bring the team down and up: it goes on from what is there."
            )
        logger.warning("the team's state %s was removed while the team uses it, and is written anew", self.path)
        with _written_beside(self.path) as new:
            self.database.execute("VACUUM INTO ?1", (str(new.absolute()),))
        self.database.close()
        self._connected()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits at its end, with the position that ``_move`` wrote; undoes everything on an error."""
        self._keep_in_place()
        database = self.database
        database.execute("BEGIN IMMEDIATE")
        try:
            stored = position(database, self.path)
            self._require_ours(stored)
            self.position = stored
            yield database
            reached = position(database, self.path)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self.position = reached

    def _require_ours(self, stored: Position) -> None:
        if (stored.lineage, stored.epoch) != (self.position.lineage, self.position.epoch):
            raise FencedError(
                f"Another supervisor has taken over the team's state {self.path} (epoch {stored.epoch}, ours was "
                f"{self.position.epoch}). Nothing was written. End this supervisor; the other one goes on."
            )

    def _move(self, to: Position) -> None:
        """Writes the file's position at the end of the caller's transaction."""
        self.database.execute(_MOVE, (to.lineage, to.epoch, to.sequence))

    @property
    def database(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError(f"The team's state {self.path} is not open. Nothing was written.")
        return self._database


class StateLock(FileLock):
    """A file beside the state file; it holds the holder's process id, for people to read."""

    def __init__(self, state_file: Path) -> None:
        super().__init__(state_file.with_name(f"{state_file.name}.lock"))

    def take(self) -> None:
        """Raises ``StateHeldError`` at once when a living process holds it, ``OSError`` when it cannot be created."""
        if not self.try_acquire():
            holder = self._path.read_text(errors="replace").strip() or "unknown"
            raise StateHeldError(
                f"Another supervisor (process {holder}) has this team's state: it holds {self._path}. Use that one, "
                "or end it first (phalanx down); for a second team set PHALANX_HOME to another directory."
            )
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the id
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None when there is no such file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def read_whole(path: Path) -> tuple[int, dict[str, bytes]]:
    """A sequence, and every record at that sequence. It has its own connection, so no write waits. Raises
    ``StoreError``."""
    try:
        with contextlib.closing(connect(path, read_only=True)) as database:
            database.execute("BEGIN")
            return position(database, path).sequence, _records(database.execute(_READ), path)
    except (sqlite3.Error, OSError) as error:
        raise in_words(error, path) from error


def create(path: Path, at: Position, records: Mapping[str, bytes]) -> None:
    """Makes a state file, whole or not at all and durable, in the place of any other.

    It has another name first: a file of the right name is then always whole, so an empty one is known as damaged.
    """
    with _written_beside(path) as new, contextlib.closing(connect(new, read_only=False)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        upgrade(database)
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_SAVE, [(key, value, at.sequence) for key, value in records.items()])
        database.execute(_MOVE, (at.lineage, at.epoch, at.sequence))
        database.execute("COMMIT")


@contextlib.contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """An empty file for the caller to fill. Afterwards it replaces ``path``; it is removed when the caller fails."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield new
        os.fsync(descriptor)
    except BaseException:
        new.unlink()
        raise
    finally:
        os.close(descriptor)
    put_in_place(new, path)


def put_in_place(new: Path, path: Path) -> None:
    """Renames a whole file to ``path``; durable when it returns."""
    for log in (f"{path.name}-wal", f"{path.name}-shm"):  # they belong to the old file
        path.with_name(log).unlink(missing_ok=True)
    rename_durably(new, path)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection that begins no transaction by itself, for the calling thread."""
    mode = "ro" if read_only else "rw"
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    database.create_function("record_checksum", 3, _record_checksum, deterministic=True)
    database.create_function("team_checksum", 4, _team_checksum, deterministic=True)
    return database


def upgrade(database: sqlite3.Connection) -> None:
    """Upgrades to the newest layout, in one transaction."""
    if schema_version(database) == LAYOUT:
        return
    database.execute("BEGIN IMMEDIATE")
    for script in _UPGRADES[schema_version(database) :]:
        for statement in script.split(";"):
            database.execute(statement)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {LAYOUT}")
    database.execute("COMMIT")


def schema_version(database: sqlite3.Connection) -> int:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


def position(database: sqlite3.Connection, path: Path) -> Position:
    """Raises ``StoreError`` when its row is damaged."""
    rows = database.execute(
        "SELECT lineage, epoch, sequence FROM team "
        "WHERE checksum IS team_checksum(lineage, epoch, sequence, deletions_known_after)"
    ).fetchall()
    if len(rows) != 1:
        raise damaged(path, "the row that says how new it is does not match its checksum")
    lineage, epoch, sequence = rows[0]
    return Position(lineage=lineage, epoch=epoch, sequence=sequence)


def _record_checksum(key: str, value: bytes | None, sequence: int) -> int:
    return zlib.crc32(value or b"", zlib.crc32(f"{key}/{sequence}/{value is None}".encode()))


def _team_checksum(lineage: str, epoch: int, sequence: int, deletions_known_after: int) -> int:
    return zlib.crc32(f"{lineage}/{epoch}/{sequence}/{deletions_known_after}".encode())


def _records(rows: Iterable[tuple[str, bytes, int]], path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key, value, intact in rows:
        if not intact:
            raise damaged(path, f"the record {key} does not match its checksum")
        found[key] = value
    return found


def examine(path: Path) -> Position:
    """Reads and checks the whole file and returns its position; ``Position()`` when there is no file.

    This process must have no other connection to it. Raises ``StoreError`` when it is damaged, of a newer layout
    or another program's, ``sqlite3.Error`` or ``OSError`` when unreadable.
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


def damage(path: Path) -> str:
    """Says for people what is damaged in the log of the database; empty when no damage is found.

    The caller has a read transaction open on the database. This process must have no other connection to it, because
    closing a file drops the locks that the process has on it.
    """
    files = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")
    log, index = (file.read_bytes() if file.exists() else b"" for file in files)
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
    return f"a part of its log {path.name}-wal is damaged, and {lost} transactions follow it"


def _header_is_whole(log: bytes) -> bool:
    order = ">" if log[3] & 1 else "<"
    words = struct.unpack_from(f"{order}6I", log)
    first = second = 0
    for one, other in list(pairwise(words))[::2]:
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack_from(">2I", log, 24)


def _commits(log: bytes) -> Iterator[int]:
    """The number of each frame that ends a transaction, since the log was last restarted."""
    (page_bytes,) = struct.unpack_from(">I", log, 8)
    size = _FRAME_HEADER_BYTES + page_bytes
    for number, start in enumerate(range(_HEADER_BYTES, len(log) - size + 1, size), start=1):
        (pages_after_commit,) = struct.unpack_from(">I", log, start + 4)
        if pages_after_commit and log[start + 8 : start + 16] == log[16:24]:
            yield number


def damaged(path: Path, detail: str) -> StoreError:
    """``detail`` says what is damaged and where in the file."""
    return StoreError(_DAMAGED.format(path=path, detail=detail))


def in_words(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    if isinstance(error, OSError):
        words = _BY_ERRNO.get(error.errno or 0, _READ_ONLY)
        return StoreError(words.format(path=path, detail=error.strerror or error))
    code: int | None = getattr(error, "sqlite_errorcode", None)
    detail = str(error) if code is None else f"{error} ({error.sqlite_errorname})"
    primary = (code or 0) & 0xFF
    undecodable = code is None and isinstance(error, sqlite3.OperationalError)  # a text that is not UTF-8
    if primary in _DAMAGE or undecodable:
        return damaged(path, detail)
    return StoreError(_BY_CODE.get(primary, _REFUSED).format(path=path, detail=detail))
