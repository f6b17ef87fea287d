"""A damaged state file is refused, or what it holds is right: never something else than what was saved."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from actors.errors import StoreError
from supervisor.store.sqlite import SqliteStore, examine, read_whole
from tests.integration.store.saver import WORKERS, returned_saves, saver

RECORDS = {f"record/{number:03}": f"{number} ".encode() * 100 for number in range(200)}


@pytest_asyncio.fixture
async def path(short_tmp: Path) -> Path:
    """The file of a team that was brought down in order."""
    store = SqliteStore(short_tmp / "state.db")
    await store.open()
    await store.save(RECORDS)
    await store.close()
    return short_tmp / "state.db"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x55]))


def offsets(size: int) -> Iterator[int]:
    """The first bytes of every page, where its structure is, and as many anywhere."""
    anywhere = random.Random(size)  # noqa: S311 - the same ones in each run
    for page in range(0, size, 4096):
        yield from range(page, page + 12, 3)
        yield from (page + anywhere.randrange(4096) for _ in range(4))


async def refusal(store: SqliteStore) -> str:
    """What is said when the store does not open; empty when it does."""
    try:
        await store.open()
    except StoreError as error:
        return str(error)
    return ""


async def opened_as_saved(path: Path) -> bool:
    """False when it is refused, in words that name the file and what to do, and left as it was."""
    before = path.read_bytes()
    store = SqliteStore(path)
    if words := await refusal(store):
        assert f"{path} is damaged: " in words
        assert "keep it" in words
        assert path.read_bytes() == before
        return False
    assert await store.load("") == RECORDS
    assert store.position.sequence == 1
    await store.close()
    return True


async def test_flipped_bytes_are_noticed_wherever_they_matter(path: Path, short_tmp: Path) -> None:
    whole = path.read_bytes()
    places = list(offsets(len(whole)))
    refused = 0
    for place in places:
        path.write_bytes(whole)
        flip(path, place)
        refused += not await opened_as_saved(path)

    assert refused > len(places) // 2


@pytest_asyncio.fixture
async def killed(short_tmp: Path) -> Path:
    """The file of a supervisor that was killed: a part of the records is only in the log."""
    path = short_tmp / "state.db"
    with saver(partial(SqliteStore, path)) as process:
        returned_saves(process, at_least=300)
    return path


async def test_a_damaged_log_is_refused_or_lacks_no_more_than_what_was_being_written(killed: Path) -> None:
    log = log_of(killed)
    whole, whole_log = killed.read_bytes(), log.read_bytes()
    sequence = examine(killed).sequence
    anywhere = random.Random(1)  # noqa: S311 - the same ones in each run
    places = [*range(32), *sorted(anywhere.randrange(len(whole_log)) for _ in range(60))]
    refused = 0
    for place in places:
        killed.write_bytes(whole)
        log.write_bytes(whole_log)
        killed.with_name("state.db-shm").unlink(missing_ok=True)
        flip(log, place)
        store = SqliteStore(killed)
        if words := await refusal(store):
            assert "its log state.db-wal" in words
            assert killed.read_bytes() == whole
            refused += 1
        else:
            assert store.position.sequence >= sequence - WORKERS
            await store.close()

    assert refused > len(places) * 0.8


async def test_a_log_whose_last_write_was_torn_by_a_crash_is_no_damage(killed: Path) -> None:
    sequence = examine(killed).sequence
    os.truncate(log_of(killed), log_of(killed).stat().st_size - 100)

    store = SqliteStore(killed)
    await store.open()

    assert sequence - WORKERS <= store.position.sequence <= sequence
    await store.close()


@pytest.mark.parametrize("left", [0.0, 0.01, 0.3, 0.5, 0.99])
async def test_a_truncated_file_is_refused(path: Path, left: float) -> None:
    os.truncate(path, int(path.stat().st_size * left))

    assert not await opened_as_saved(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("UPDATE team SET epoch = 1000", "how new it is does not match its checksum"),
        ("UPDATE records SET value = x'00' WHERE key = 'record/123'", "record/123 does not match its checksum"),
    ],
)
async def test_a_changed_row_is_named(path: Path, harm: str, words: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(harm)

    with pytest.raises(StoreError, match=words):
        await SqliteStore(path).open()


async def test_a_record_that_changes_while_the_team_runs_is_not_believed(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE records SET value = x'00' WHERE key = 'record/007'")

    for read in (store.load("record/"), asyncio.to_thread(read_whole, path)):
        with pytest.raises(StoreError, match="the record record/007 does not match its checksum"):
            await read
    await store.close()


async def test_an_emptied_file_is_refused_and_its_log_is_kept(killed: Path) -> None:
    log = log_of(killed).read_bytes()
    os.truncate(killed, 0)

    with pytest.raises(StoreError, match="it is empty"):
        await SqliteStore(killed).open()
    assert log_of(killed).read_bytes() == log


async def test_a_log_without_its_file_is_not_taken_for_an_empty_team(path: Path) -> None:
    shutil.move(path, path.with_name("state.db-wal"))

    with pytest.raises(StoreError, match=r"it is missing, while its log state\.db-wal is there"):
        await SqliteStore(path).open()
    assert not path.exists()


async def test_the_refused_file_can_be_moved_aside_and_the_team_starts_anew(path: Path) -> None:
    flip(path, 0)
    assert not await opened_as_saved(path)

    path.rename(path.with_name("damaged.db"))

    store = SqliteStore(path)
    assert await store.open() == 1
    assert await store.load("") == {}
    await store.close()


async def test_damage_while_the_team_runs_is_said_and_nothing_wrong_is_read(short_tmp: Path) -> None:
    path = short_tmp / "state.db"
    store = SqliteStore(path)
    await store.open()
    many = {f"{number:05}": bytes([number % 256]) * 2000 for number in range(4000)}  # more than SQLite's page cache
    await store.save(many)
    size = path.stat().st_size
    assert size > 4_000_000
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\x55" * 200_000)

    with pytest.raises(StoreError, match=rf"{path} is damaged"):
        await store.load("")
    with pytest.raises(StoreError, match=rf"{path} is damaged"):
        await store.save(dict.fromkeys(many, b"another"))
    assert "damaged" in store.health.warning
    await store.close()
