"""The state file: its modes, what waits for a lock or a disk, and what is committed together."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from actors.errors import FencedError, StateHeldError, StoreError
from supervisor.store.sqlite import Change, SqliteStore, StateFile
from tests.integration.store.wal import commits


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path)
    await made.open()
    yield made
    await made.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The file is locked by another program."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def begun(*saves: asyncio.Task[None]) -> None:
    """Until every task has handed its save to the store."""
    await asyncio.sleep(0)
    assert not any(save.done() for save in saves)


async def held(path: Path) -> bool:
    store = SqliteStore(path)
    try:
        await store.open()
    except StateHeldError:
        return True
    await store.close()
    return False


def modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


async def test_nobody_else_can_read_any_file_of_the_state(short_tmp: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(short_tmp / "state.db")
        await store.open()
        await store.save({"a": b"1"})
        found = modes(short_tmp)
        await store.close()
    finally:
        os.umask(before)

    assert found == dict.fromkeys(["state.db", "state.db-wal", "state.db-shm", "state.db.lock"], 0o600)


async def test_a_file_that_others_could_read_is_made_private(store: SqliteStore, path: Path) -> None:
    await store.close()
    path.chmod(0o644)
    path.with_name("state.db.lock").chmod(0o644)

    await store.open()

    assert set(modes(path.parent).values()) == {0o600}


async def test_saves_that_wait_are_committed_together_and_told_in_the_order_of_the_calls(path: Path) -> None:
    changes: list[Change] = []
    store = SqliteStore(path, on_commit=changes.extend)
    await store.open()
    with locked(path):
        before = commits(path)
        saves = [asyncio.create_task(store.save({f"{number}": b"x"}, ["gone"])) for number in range(20)]
        await asyncio.sleep(0)
    await asyncio.gather(*saves)

    assert commits(path) - before <= 2
    assert [change.sequence for change in changes] == list(range(1, 21))
    assert [change.records for change in changes] == [{str(number): b"x", "gone": None} for number in range(20)]
    assert store.position.sequence == 20
    await store.close()


async def test_a_supervisor_that_was_replaced_can_write_nothing_more(store: SqliteStore, path: Path) -> None:
    await store.save({"a": b"1"})
    path.with_name("state.db.lock").unlink()  # as on a file system whose locks do not work
    successor = SqliteStore(path)
    await successor.open()

    with pytest.raises(FencedError, match=r"epoch 2, ours was 1.*Nothing was written"):
        await store.save({"a": b"stray", "b": b"stray"}, ["a"])

    assert "taken over" in store.health.warning
    assert await successor.load("") == {"a": b"1"}
    await successor.close()


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="is not open"):
        await store.save({"a": b"1"})
    await store.open()
    with pytest.raises(StoreError, match="is open already"):
        await store.open()
    await store.close()
    with pytest.raises(StoreError, match="is not open"):
        await store.load("")


async def test_a_save_that_cannot_be_written_takes_no_other_with_it(store: SqliteStore, path: Path) -> None:
    with locked(path):
        good = [asyncio.create_task(store.save({f"{number}": b"x"})) for number in range(5)]
        bad = asyncio.create_task(store.save({"half": b"x", "no text: \ud800": b"x"}))
        more = [asyncio.create_task(store.save({f"{number}": b"x"})) for number in range(5, 10)]
        await begun(*good, bad, *more)

    with pytest.raises(UnicodeEncodeError):
        await bad
    await asyncio.gather(*good, *more)
    assert list(await store.load("")) == [str(number) for number in range(10)]
    assert store.position.sequence == 10


async def test_a_file_that_stays_locked_is_named_and_the_store_goes_on_afterwards(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.close()
    monkeypatch.setattr("supervisor.store.sqlite.BUSY_TIMEOUT_S", 0.05)
    await store.open()

    with locked(path), pytest.raises(StoreError, match=rf"locked.*{path}.*Nothing was written"):
        await store.save({"a": b"1"})

    assert "locked" in store.health.warning
    await store.save({"b": b"1"})
    assert store.health.warning == ""
    assert list(await store.load("")) == ["b"]


async def test_nobody_waits_for_ever_for_a_disk_that_does_not_answer(path: Path) -> None:
    store = SqliteStore(path, patience_s=1.0)
    await store.open()
    with locked(path):
        with pytest.raises(StoreError, match=r"has not answered for 1 s\. Whether this was written is not known"):
            await store.save({"in hand": b"x"})
        with pytest.raises(StoreError, match=r"has not answered for 1 s\. Nothing was written"):
            await store.save({"waiting": b"x"})

    assert "waiting" not in await store.load("")
    await store.close()


async def test_the_late_end_of_a_refused_opening_does_not_touch_the_next_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes = itertools.count(1)
    opened_again, ended = threading.Event(), threading.Event()
    close = StateFile.close

    def late(file: StateFile) -> None:
        is_the_last_of_the_refused_opening = next(closes) == 2
        if is_the_last_of_the_refused_opening:
            opened_again.wait(10)
        close(file)
        if is_the_last_of_the_refused_opening:
            ended.set()

    store = SqliteStore(path)
    path.write_bytes(b"")
    monkeypatch.setattr(StateFile, "close", late)
    with pytest.raises(StoreError, match="it is empty"):
        await store.open()
    path.unlink()

    await store.open()
    opened_again.set()
    assert await asyncio.to_thread(ended.wait, 10)

    await store.save({"a": b"1"})
    assert await held(path)
    await store.close()


async def test_a_store_that_could_not_be_closed_in_time_lets_the_state_go_later(path: Path) -> None:
    store = SqliteStore(path, patience_s=1.0)
    await store.open()
    with locked(path):
        save = asyncio.create_task(store.save({"a": b"1"}))
        await begun(save)
        with pytest.raises(StoreError, match=r"has not answered for 1 s\. It is closed as soon"):
            await store.close()
    await asyncio.gather(save, return_exceptions=True)

    for _ in range(500):
        if not await held(path):
            break
        await asyncio.sleep(0.01)
    assert not await held(path)


async def test_the_event_loop_is_free_while_the_file_is_busy(store: SqliteStore, path: Path) -> None:
    with locked(path):
        save = asyncio.create_task(store.save({"a": b"1"}))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not save.done()
    await save


async def test_closing_makes_what_waits_durable_first(store: SqliteStore, path: Path) -> None:
    saves = [asyncio.create_task(store.save({f"{number}": b"x"})) for number in range(10)]
    await begun(*saves)

    await store.close()

    await asyncio.gather(*saves)
    await store.open()
    assert len(await store.load("")) == 10


async def test_a_file_that_is_removed_under_the_team_is_there_again_with_everything_after_the_next_write(
    store: SqliteStore, path: Path
) -> None:
    await store.save({"before": b"1", "gone": b"1"})
    for times in range(2):
        for file in (path, path.with_name("state.db-wal"), path.with_name("state.db-shm")):
            file.unlink(missing_ok=True)
        await asyncio.gather(store.save({f"after {times}": b"2"}, ["gone"]), store.save({f"also {times}": b"3"}))
        assert path.stat().st_mode & 0o777 == 0o600
    held = await store.load("")
    assert held.keys() == {"before", "after 0", "also 0", "after 1", "also 1"}
    epoch = store.position.epoch
    await store.close()
    later = SqliteStore(path)
    assert await later.open() == epoch + 1
    assert await later.load("") == held
    await later.close()


async def test_a_file_that_was_put_in_the_place_of_ours_is_not_written_to_and_ours_neither(
    store: SqliteStore, path: Path, short_tmp: Path
) -> None:
    await store.save({"a": b"1"})
    path.rename(short_tmp / "ours")
    path.write_bytes(b"something else")
    with pytest.raises(StoreError, match=r"Another file was put in the place.*Nothing was written"):
        await store.save({"b": b"2"})
    assert path.read_bytes() == b"something else"
    path.unlink()
    (short_tmp / "ours").rename(path)
    await store.save({"b": b"2"})
    assert await store.load("") == {"a": b"1", "b": b"2"}
