"""A disk without space: said in words, nothing half-written, and the team goes on when there is space again.

A real full disk needs the right to mount one. The same is shown everywhere with a limit that SQLite keeps itself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import StoreError
from supervisor.store import sqlite
from supervisor.store.sqlite import SqliteStore

DISK_BYTES = 1_500_000
FILLER_BYTES = 500_000


@pytest.fixture
def small_disk(short_tmp: Path) -> Iterator[Path]:
    disk = short_tmp / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"This user may mount no disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def failure(store: SqliteStore, records: dict[str, bytes]) -> str:
    """What is said when the records cannot be saved; empty when they can."""
    try:
        await store.save(records)
    except StoreError as error:
        return str(error)
    return ""


async def save_until_full(store: SqliteStore) -> dict[str, bytes]:
    """What was saved when the first save failed, which must leave no trace."""
    saved: dict[str, bytes] = {}
    while True:
        value = os.urandom(1500)
        records = {f"{len(saved):05}/a": value, f"{len(saved):05}/b": value}
        if words := await failure(store, records):
            break
        saved |= records
    assert "no space left" in words
    assert "Nothing was written" in words
    return saved


def fill(disk: Path) -> Path:
    """Takes all space that is left, in a file of its own."""
    filler = disk / "all-the-rest"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 512):
            pass
    return filler


async def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * FILLER_BYTES)
    store = SqliteStore(small_disk / "state.db")
    await store.open()

    saved = await save_until_full(store)

    assert saved
    assert "no space left" in store.health.warning
    assert await store.load("") == saved
    (small_disk / "filler").unlink()
    await store.save({"after": b"1"})
    assert store.health.warning == ""
    await store.close()
    assert await store.open() == 2
    assert await store.load("") == {**saved, "after": b"1"}
    await store.close()


async def test_a_start_on_a_full_disk_is_refused_in_words_and_works_later(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "state.db")
    await store.open()
    await store.save({"a": b"1"})
    await store.close()
    filler = fill(small_disk)

    with pytest.raises(StoreError, match=r"(no space|disk).*state\.db"):
        await store.open()

    filler.unlink()
    assert await store.open() == 2
    assert await store.load("") == {"a": b"1"}
    await store.close()


async def test_a_first_start_on_a_full_disk_is_refused_in_words_and_works_later(small_disk: Path) -> None:
    filler = fill(small_disk)
    store = SqliteStore(small_disk / "state.db")

    with pytest.raises(StoreError, match=r"no space left"):
        await store.open()

    filler.unlink()
    assert await store.open() == 1
    await store.close()


async def test_a_save_that_finds_no_room_in_the_file_leaves_no_trace(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite.connect

    def limited(path: Path, *, read_only: bool) -> sqlite3.Connection:
        connections.append(connect(path, read_only=read_only))
        connections[-1].execute("PRAGMA max_page_count = 100")
        return connections[-1]

    monkeypatch.setattr(sqlite, "connect", limited)
    store = SqliteStore(short_tmp / "state.db")
    await store.open()

    saved = await save_until_full(store)

    assert saved
    assert await store.load("") == saved
    assert "no space left" in store.health.warning
    first = min(saved)
    await store.save({}, [first, first.replace("/a", "/b")])
    await store.save({"fits": b"1"})
    assert store.health.warning == ""
    await store.close()
    monkeypatch.undo()
    await store.open()
    assert len(await store.load("")) == len(saved) - 1
    await store.close()
