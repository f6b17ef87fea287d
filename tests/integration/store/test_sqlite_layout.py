"""What a state file is when it is opened: an older or newer layout, another program's file, or no file yet."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from actors.errors import StoreError
from supervisor.store import sqlite
from supervisor.store.sqlite import SqliteStore


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path)
    await made.open()
    yield made
    await made.close()


async def test_a_newer_layout_is_refused_in_words_and_left_untouched(store: SqliteStore, path: Path) -> None:
    await store.save({"a": b"1"})
    await store.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 3")
        newer.execute("ALTER TABLE team ADD COLUMN something_new TEXT")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"newer Phalanx \(layout 3, this one knows 2\).*left as it is"):
        await store.open()

    assert path.read_bytes() == before


async def test_an_older_layout_is_brought_up_to_the_newest_with_its_records(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save({"a": b"1"})
    await store.close()
    further = "ALTER TABLE team ADD COLUMN further INTEGER NOT NULL DEFAULT 7"
    monkeypatch.setattr(sqlite, "_UPGRADES", (*sqlite._UPGRADES, further))
    monkeypatch.setattr(sqlite, "LAYOUT", 3)

    assert await store.open() == 2

    assert await store.load("") == {"a": b"1"}
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (3,)
        assert other.execute("SELECT further FROM team").fetchone() == (7,)


async def test_what_the_first_layout_kept_for_a_second_copy_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(sqlite, "_UPGRADES", sqlite._UPGRADES[:1])
        earlier.setattr(sqlite, "LAYOUT", 1)
        store = SqliteStore(path)
        await store.open()
        await store.save({"a": b"1", "copies/sessions": b"who wrote"})
        await store.close()
    with closing(sqlite.connect(path, read_only=False)) as database:
        database.execute("INSERT INTO records VALUES ('deleted', NULL, 1, record_checksum('deleted', NULL, 1))")

    await store.open()

    assert await store.load("") == {"a": b"1"}
    await store.close()


async def test_an_upgrade_that_fails_changes_nothing(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save({"a": b"1"})
    await store.close()
    with monkeypatch.context() as changed:
        broken = "UPDATE records SET value = x'00'; INSERT INTO nowhere VALUES (1)"
        changed.setattr(sqlite, "_UPGRADES", (*sqlite._UPGRADES, broken))
        changed.setattr(sqlite, "LAYOUT", 3)
        with pytest.raises(StoreError, match="nowhere"):
            await store.open()

    assert await store.open() == 2
    assert await store.load("") == {"a": b"1"}


async def test_a_database_of_another_program_is_refused_and_left_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE records (something TEXT)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another program"):
        await SqliteStore(path).open()

    assert path.read_bytes() == before


async def test_a_start_that_was_cut_off_does_not_hinder_the_next_one(path: Path) -> None:
    path.with_name("state.db.new").write_bytes(b"half a database")

    store = SqliteStore(path)
    assert await store.open() == 1
    await store.close()

    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


async def test_a_directory_that_is_missing_is_named(short_tmp: Path) -> None:
    missing = short_tmp / "missing" / "state.db"

    with pytest.raises(StoreError, match=rf"{missing} cannot be written: No such file or directory"):
        await SqliteStore(missing).open()
