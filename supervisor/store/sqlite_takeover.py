"""Taking another copy's content over into the state file, which keeps its own content aside first.

Blocking calls for ``SqliteStore``, in this order: ``begin``, ``stage`` for each part, ``take_over`` (or ``drop``).
The other copy's records gather beside ours and take their place in one transaction at the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from supervisor.store.sqlite_file import StateFile, sync_directory
from supervisor.store.values import Position

_SWAP = (
    # The sequences are spread evenly, so that a further copy can be made of this one in parts.
    "INSERT INTO records SELECT key, value, place, record_checksum(key, value, place) FROM (SELECT key, value, "
    "1 + (row_number() OVER (ORDER BY key) - 1) * ?1 / (SELECT count(*) FROM incoming) AS place FROM incoming)"
)


def begin(file: StateFile) -> None:
    """Forgets what was staged, and copies the file to ``<name>.superseded-<epoch>-<n>`` if it holds a record."""
    drop(file)
    if not file.database.execute("SELECT EXISTS (SELECT 1 FROM records WHERE value IS NOT NULL)").fetchone()[0]:
        return
    aside = _free_name(file.path, file.position.epoch)
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        file.database.execute("VACUUM INTO ?1", (str(aside),))
        os.fsync(descriptor)
    except BaseException:
        aside.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_directory(aside.parent)


def stage(file: StateFile, records: Mapping[str, bytes]) -> None:
    with file.transaction() as database:
        database.executemany("INSERT OR REPLACE INTO incoming VALUES (?1, ?2)", records.items())


def drop(file: StateFile) -> None:
    with file.transaction() as database:
        database.execute("DELETE FROM incoming")


def take_over(file: StateFile, position: Position) -> None:
    """Replaces every record by the staged ones. The epoch becomes the higher one of both, so ours stays valid."""
    epoch = max(position.epoch, file.position.epoch)
    with file.transaction() as database:
        database.execute("DELETE FROM records")
        database.execute(_SWAP, (max(position.sequence, 1),))
        database.execute("DELETE FROM incoming")
        taken = Position(lineage=position.lineage, epoch=epoch, sequence=position.sequence)
        file.note(database, taken, deletions_known_after=position.sequence)


def _free_name(path: Path, epoch: int) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.superseded-{epoch}-{number}")).exists():
        number += 1
    return aside
