"""Taking another copy's content over into the state file, which keeps its own content aside first.

Blocking calls for ``SqliteStore``, in this order: ``begin``, ``stage`` for each part, ``finish``; ``abandon`` when any
of them fails. The parts gather in a file of their own, so that giving up frees the disk again even when it is full;
they take their place in one transaction at the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from supervisor.store.sqlite_file import StateFile, copy_to
from supervisor.store.values import Position

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
