"""The state file: its modes, locks, slow and full disks, older and newer layouts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import sqlite3
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from actors.errors import StateHeldError, StoreError
from supervisor.store import sqlite
from supervisor.store.sqlite import Change, OpenedState, SqliteStore, examine
from tests.integration.store.conftest import is_refused, refuse
from tests.integration.store.saver import WORKERS, returned_saves, saver

DISK_BYTES = 1_500_000
FILLER_BYTES = 500_000


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


def commits(path: Path) -> int:
    """How many transactions the log of the database holds. Only for a log that was never begun anew."""
    log = path.with_name(f"{path.name}-wal").read_bytes()
    header_bytes, frame_header_bytes = 32, 24
    (page_bytes,) = struct.unpack_from(">I", log, 8)
    frames = range(header_bytes, len(log), frame_header_bytes + page_bytes)
    return sum(struct.unpack_from(">I", log, frame + 4)[0] != 0 for frame in frames)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


async def test_nobody_else_can_read_any_file_of_the_state(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        await store.open()
        await store.save({"a": b"1"})
        found = modes(path.parent)
        await store.close()
        path.chmod(0o644)
        path.with_name("state.db.lock").chmod(0o644)
        await store.open()
        found_later = modes(path.parent)
        await store.close()
    finally:
        os.umask(before)

    assert found == dict.fromkeys(["state.db", "state.db-wal", "state.db-shm", "state.db.lock"], 0o600)
    assert set(found_later.values()) == {0o600}


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


async def test_a_save_returns_although_nobody_could_be_told_of_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(changes: object) -> None:
        raise RuntimeError("the event loop is closed")

    store = SqliteStore(path, patience_s=1.0, on_commit=fail)
    await store.open()
    await asyncio.gather(store.save({"a": b"1"}), store.save({"b": b"1"}))

    assert "the event loop is closed" in caplog.text
    assert await store.load("") == {"a": b"1", "b": b"1"}
    await store.close()


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
    close = OpenedState.close

    def late(state: OpenedState) -> None:
        is_the_last_of_the_refused_opening = next(closes) == 2
        if is_the_last_of_the_refused_opening:
            opened_again.wait(10)
        close(state)
        if is_the_last_of_the_refused_opening:
            ended.set()

    store = SqliteStore(path)
    path.write_bytes(b"")
    monkeypatch.setattr(OpenedState, "close", late)
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


async def test_a_file_that_was_put_back_is_gone_on_with(store: SqliteStore, path: Path) -> None:
    kept = path.with_name("kept.db")
    await store.save({"a": b"1"})
    await store.close()
    path.rename(kept)
    assert await is_refused(SqliteStore(path, may_begin=refuse))
    kept.replace(path)

    store = SqliteStore(path, may_begin=refuse)
    await store.open()
    assert await store.load("") == {"a": b"1"}
    await store.close()


async def test_a_second_supervisor_is_told_who_has_the_state_and_gets_it_when_that_one_is_killed(path: Path) -> None:
    second = SqliteStore(path)
    with saver(partial(SqliteStore, path)) as process:
        for _ in range(3):
            with pytest.raises(StateHeldError, match=rf"process {process.pid}\b.*{re.escape(str(path))}"):
                await second.open()
        assert examine(path).epoch == 1
        assert returned_saves(process, at_least=WORKERS * 3).keys() == set(range(WORKERS))
    assert await second.open() == 2
    await second.close()


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


@pytest.fixture
def small_disk(short_tmp: Path) -> Iterator[Path]:
    """Needs the right to mount one. A limit that SQLite keeps itself shows the same everywhere."""
    disk = short_tmp / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"This user may mount no disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def save_until_full(store: SqliteStore) -> dict[str, bytes]:
    """What was saved when the first save failed, which must leave no trace."""
    saved: dict[str, bytes] = {}

    async def save_on() -> None:
        while True:
            value = os.urandom(1500)
            records = {f"{len(saved):05}/a": value, f"{len(saved):05}/b": value}
            await store.save(records)
            saved.update(records)

    with pytest.raises(StoreError, match=r"no space left.*Nothing was written"):
        await save_on()
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
