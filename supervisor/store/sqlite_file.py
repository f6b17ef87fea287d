"""The state file: opened by one supervisor at a time, written, replaced, set aside.

The state file itself: blocking calls, all made from the one thread that ``SqliteStore`` keeps for it.

Owns the lock, the connection and the file's modes. Every writing call is one transaction that begins by looking whether
the file still carries our epoch, so a supervisor that was replaced cannot write even where locks do not work.
Errors are ``sqlite3.Error`` and ``OSError`` as they come, and ``StoreError`` where this module knows better.

Taking another copy's content over into the state file, which keeps its own content aside first.

Blocking calls for ``SqliteStore``, in this order: ``begin``, ``stage`` for each part, ``finish``; ``abandon`` when any
of them fails. The parts gather in a file of their own, so that giving up frees the disk again even when it is full;
they take their place in one transaction at the end.

Moves a damaged state file out of the way, so that a good copy can take its place. Nothing of it is deleted.

One supervisor per state file: a lock beside it that the kernel frees when its holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from actors.errors import FencedError, StateHeldError, StoreError
from actors.files import FileLock
from supervisor.store import sqlite_schema
from supervisor.store.lineage import Change, Changes, Position
from supervisor.store.sqlite_schema import damaged, examine

logger = logging.getLogger(__name__)


def lock_state(lock: FileLock, path: Path) -> None:
    """Takes ``lock``, on the file ``path``, in which the process id stands for people to read.

    Raises ``StateHeldError`` at once when a living process holds it, ``OSError`` when it cannot be made.
    """
    if not lock.try_acquire():
        holder = path.read_text(errors="replace").strip() or "unknown"
        raise StateHeldError(
            f"Another supervisor (process {holder}) has this team's state: it holds {path}. Use that one, "
            "or end it first (phalanx down); for a second team set PHALANX_HOME to another directory."
        )
    with contextlib.suppress(OSError):  # on a full disk the id is left out
        os.ftruncate(lock.descriptor, 0)
        os.pwrite(lock.descriptor, f"{os.getpid()}\n".encode(), 0)


_WRITE = (
    "INSERT INTO records VALUES (?1, ?2, ?3, record_checksum(?1, ?2, ?3)) ON CONFLICT (key) DO UPDATE "
    "SET value = excluded.value, sequence = excluded.sequence, checksum = excluded.checksum"
)
_BURY = (
    "UPDATE records SET value = NULL, sequence = ?2, checksum = record_checksum(key, NULL, ?2) "
    "WHERE key = ?1 AND value IS NOT NULL"
)
_DELETE = "DELETE FROM records WHERE key = ?1"
_READ = "SELECT key, value, sequence, checksum IS record_checksum(key, value, sequence) FROM records"
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

_Row = tuple[str, bytes | None, int, int]


class StateFile:
    def __init__(self, path: Path, *, keep_tombstones: bool) -> None:
        self.path = path
        self.incoming = path.with_name(f"{path.name}.incoming")
        """Where parts of another copy gather; worthless unless this process is just taking one over."""
        self._keep_tombstones = keep_tombstones
        self._lock_file = path.with_name(f"{path.name}.lock")
        self._lock = FileLock(self._lock_file)
        self._database: sqlite3.Connection | None = None
        self._opened_as: tuple[int, int] | None = None
        self.position = Position()
        self.deletions_known_after = 0

    def open(self, above: int) -> None:
        """Takes the file, making it when there is none, and writes an epoch above every one before and ``above``."""
        lock_state(self._lock, self._lock_file)
        try:
            self.incoming.unlink(missing_ok=True)
            examine(self.path)
            if not self.path.exists():
                self._create()
            for name in (self.path.name, f"{self.path.name}-wal", f"{self.path.name}-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(name).chmod(0o600)
            self._connect(above)
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

    def write(self, writes: Sequence[tuple[Mapping[str, bytes], Sequence[str]]]) -> list[Change]:
        """Makes each write (records, keys to delete) in turn, all of them in one transaction or none."""
        changes: list[Change] = []
        with self.transaction() as database:
            for records, delete in writes:
                changes.append(self._write_one(database, self.position.sequence + len(changes) + 1, records, delete))
            last = changes[-1].position
            self.note(database, last, self.deletions_known_after if self._keep_tombstones else last.sequence)
        return changes

    def load(self, prefix: str) -> dict[str, bytes]:
        """The records under the prefix, in the order of their keys."""
        where, bounds, end = "value IS NOT NULL AND key >= ?1", [prefix], _after(prefix)
        if end is not None:
            where, bounds = f"{where} AND key < ?2", [prefix, end]
        rows = self._read(f"{_READ} WHERE {where} ORDER BY key", bounds)
        return {key: value for key, value, _, _ in rows if value is not None}

    def changes_after(self, sequence: int, limit: int) -> Changes:
        """At most ``limit`` rows, but never a part of one write."""
        in_order = f"{_READ} WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
        rows = self._read(in_order, (sequence, limit + 1))
        upto = self.position.sequence
        if len(rows) > limit:
            begun = rows[-1][2]
            rows = [row for row in rows if row[2] < begun]
            if not rows:
                rows = self._read(f"{_READ} WHERE sequence = ?1", (begun,))
            upto = rows[-1][2]
        return Changes(upto=upto, records={key: value for key, value, _, _ in rows})

    def forget_tombstones(self, upto: int) -> None:
        known = min(upto, self.position.sequence)
        if known <= self.deletions_known_after:
            return
        with self.transaction() as database:
            _forget(database, known)
            self.note(database, self.position, known)

    def _create(self) -> None:
        """Under another name first: a file of the right name is a whole one, so an empty one is known as damaged."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite_schema.connect(new, read_only=False)) as database:
            sqlite_schema.upgrade(database)
        new.replace(self.path)
        sync_directory(self.path.parent)

    def _connect(self, above: int) -> None:
        database = self._connected()
        sqlite_schema.upgrade(database)
        found = self.position = sqlite_schema.position(database, self.path)
        with self.transaction():
            known = _deletions_known_after(database)
            if not self._keep_tombstones:
                known = found.sequence
                _forget(database, known)
            self.note(database, dataclasses.replace(found, epoch=max(found.epoch, above) + 1), known)

    def _connected(self) -> sqlite3.Connection:
        self._database = database = sqlite_schema.connect(self.path, read_only=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        self._opened_as = _identity(self.path)
        return database

    def _keep_in_place(self) -> None:
        """A file that somebody has removed under us is written anew: what is durable must be found again."""
        found = _identity(self.path)
        if found == self._opened_as:
            return
        if found is not None:
            raise StoreError(
                f"Another file was put in the place of the team's state {self.path} while the team uses it. Nothing "
                "was written. Put the first one back; or bring the team down and up: it goes on from what is there."
            )
        logger.warning("the team's state %s was removed while the team uses it, and is written anew", self.path)
        copy_to(self.database, self.path)
        self.database.close()
        self._connected()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits at its end and then takes over what ``note`` wrote; undoes everything on an error."""
        self._keep_in_place()
        database = self.database
        database.execute("BEGIN IMMEDIATE")
        try:
            stored = sqlite_schema.position(database, self.path)
            self._require_ours(stored)
            self.position = stored
            yield database
            position = sqlite_schema.position(database, self.path)
            known = _deletions_known_after(database)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self.position, self.deletions_known_after = position, known

    def _require_ours(self, stored: Position) -> None:
        if (stored.lineage, stored.epoch) != (self.position.lineage, self.position.epoch):
            raise FencedError(
                f"Another supervisor has taken over the team's state {self.path} (epoch {stored.epoch}, ours was "
                f"{self.position.epoch}). Nothing was written. End this supervisor; the other one goes on."
            )

    def _write_one(
        self, database: sqlite3.Connection, sequence: int, records: Mapping[str, bytes], delete: Sequence[str]
    ) -> Change:
        database.executemany(_WRITE, [(key, value, sequence) for key, value in records.items()])
        if self._keep_tombstones:
            database.executemany(_BURY, [(key, sequence) for key in delete])
        else:
            database.executemany(_DELETE, [(key,) for key in delete])
        position = dataclasses.replace(self.position, sequence=sequence)
        return Change(previous=sequence - 1, position=position, records={**records, **dict.fromkeys(delete)})

    def note(self, database: sqlite3.Connection, position: Position, deletions_known_after: int) -> None:
        """Writes where the file stands from the end of the caller's transaction on."""
        database.execute(
            "UPDATE team SET lineage = ?1, epoch = ?2, sequence = ?3, deletions_known_after = ?4, "
            "checksum = team_checksum(?1, ?2, ?3, ?4)",
            (position.lineage, position.epoch, position.sequence, deletions_known_after),
        )

    def _read(self, query: str, parameters: Sequence[str | int]) -> list[_Row]:
        rows: list[_Row] = self.database.execute(query, parameters).fetchall()
        for key, _, _, intact in rows:
            if not intact:
                raise damaged(self.path, f"the record {key} does not match its checksum")
        return rows

    @property
    def database(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError(f"The team's state {self.path} is not open. Nothing was written.")
        return self._database


def _after(prefix: str) -> str | None:
    """The first text behind all that begin with ``prefix``, in the order of code points; None when there is no end."""
    rest = prefix.rstrip(chr(_LAST_CHARACTER))
    if not rest:
        return None
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None when there is no such file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def copy_to(database: sqlite3.Connection, path: Path) -> None:
    """Writes all that the database holds to ``path``, whole or not at all and durable; there must be no file yet."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        database.execute("VACUUM INTO ?1", (str(new.absolute()),))
        os.fsync(descriptor)
    except BaseException:
        new.unlink()
        raise
    finally:
        os.close(descriptor)
    for log in (f"{path.name}-wal", f"{path.name}-shm"):  # of the file that is gone
        path.with_name(log).unlink(missing_ok=True)
    new.replace(path)
    sync_directory(path.parent)


def _deletions_known_after(database: sqlite3.Connection) -> int:
    known: int = database.execute("SELECT deletions_known_after FROM team").fetchone()[0]
    return known


def _forget(database: sqlite3.Connection, upto: int) -> None:
    database.execute("DELETE FROM records WHERE value IS NULL AND sequence <= ?1", (upto,))


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_SWAP = (
    # The sequences are spread evenly, so that a further copy can be made of this one in parts.
    "INSERT INTO main.records SELECT key, value, place, record_checksum(key, value, place) FROM (SELECT key, value, "
    "1 + (row_number() OVER (ORDER BY key) - 1) * ?1 / (SELECT count(*) FROM incoming.records) AS place "
    "FROM incoming.records)"
)


class Takeover:
    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._aside: Path | None = None
        self._attached = False

    def begin(self) -> None:
        """Copies the file to ``<name>.superseded-<epoch>-<n>`` if it holds a record, and makes room for the parts."""
        database, incoming = self._file.database, self._file.incoming
        if database.execute("SELECT EXISTS (SELECT 1 FROM records WHERE value IS NOT NULL)").fetchone()[0]:
            aside = _free_name(self._file.path, self._file.position.epoch)
            copy_to(database, aside)
            self._aside = aside
        incoming.unlink(missing_ok=True)
        os.close(_create(incoming))
        database.execute("ATTACH ?1 AS incoming", (str(incoming.absolute()),))
        self._attached = True
        database.execute("PRAGMA incoming.journal_mode = OFF")
        database.execute("PRAGMA incoming.synchronous = OFF")
        database.execute("CREATE TABLE incoming.records (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

    def stage(self, records: Mapping[str, bytes]) -> None:
        database = self._file.database
        database.execute("BEGIN")
        database.executemany("INSERT OR REPLACE INTO incoming.records VALUES (?1, ?2)", records.items())
        database.execute("COMMIT")

    def finish(self, position: Position) -> None:
        """Replaces every record by the staged ones. The epoch becomes the higher one of both, so ours stays valid."""
        epoch = max(position.epoch, self._file.position.epoch)
        with self._file.transaction() as database:
            database.execute("DELETE FROM main.records")
            database.execute(_SWAP, (max(position.sequence, 1),))
            taken = Position(lineage=position.lineage, epoch=epoch, sequence=position.sequence)
            self._file.note(database, taken, deletions_known_after=position.sequence)
        self._aside = None  # from here on it is what is left of our own content
        self._drop_parts()

    def abandon(self) -> None:
        """Leaves nothing behind. Our own content is in its place, unless ``finish`` had replaced it already."""
        self._drop_parts()
        if self._aside is not None:
            self._aside.unlink()

    def _drop_parts(self) -> None:
        if self._file.database.in_transaction:
            self._file.database.execute("ROLLBACK")
        if self._attached:
            self._file.database.execute("DETACH incoming")
            self._attached = False
        self._file.incoming.unlink(missing_ok=True)


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)


def _free_name(path: Path, epoch: int) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.superseded-{epoch}-{number}")).exists():
        number += 1
    return aside


_PARTS = ("", "-wal", "-shm")


def set_aside(path: Path) -> Path:
    """The new name of the file. Raises ``StateHeldError`` when another supervisor has it, ``OSError``."""
    lock_file = path.with_name(f"{path.name}.lock")
    lock = FileLock(lock_file)
    lock_state(lock, lock_file)
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
