"""What a second copy of the state is told, how another copy is taken over, and who may write."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import FencedError, StoreError
from supervisor.store.lineage import Position
from supervisor.store.sqlite import SqliteStore

OTHER = Position(lineage="another", epoch=7, sequence=40)


@pytest_asyncio.fixture
async def store(short_tmp: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(short_tmp / "state.db", keep_tombstones=True)
    await made.open()
    yield made
    await made.close()


async def parts(*records: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, bytes]]:
    for part in records:
        yield part


async def cut_off(records: Mapping[str, bytes]) -> AsyncIterator[Mapping[str, bytes]]:
    yield records
    raise ConnectionResetError("the other copy went away")


async def follow(store: SqliteStore, copy: dict[str, bytes], sequence: int, limit: int) -> int:
    """Brings a copy that is at ``sequence`` up to date and returns where it is then."""
    while sequence < store.position.sequence:
        changes = await store.changes_after(sequence, limit)
        assert changes.upto > sequence
        for key, value in changes.records.items():
            if value is None:
                copy.pop(key, None)
            else:
                copy[key] = value
        sequence = changes.upto
    return sequence


async def test_a_copy_that_does_not_exist_is_at_epoch_0(short_tmp: Path) -> None:
    assert await SqliteStore(short_tmp / "state.db").peek() == Position()
    assert list(short_tmp.iterdir()) == []


async def test_a_write_moves_the_position_by_one_and_tells_what_changed(store: SqliteStore) -> None:
    before = store.position

    change = await store.write({"a": b"1", "b": b"2"}, ["b", "c"])

    assert change.previous == before.sequence
    assert change.position == Position(lineage=before.lineage, epoch=1, sequence=before.sequence + 1)
    assert change.records == {"a": b"1", "b": None, "c": None}
    assert store.position == change.position == await store.peek()


async def test_the_position_outlives_the_store(store: SqliteStore, short_tmp: Path) -> None:
    await store.save({"a": b"1"})
    at = store.position
    await store.close()

    assert await store.peek() == at
    assert await SqliteStore(short_tmp / "state.db").peek() == at


async def test_changes_come_oldest_first_and_never_a_part_of_one_write(store: SqliteStore) -> None:
    await store.save({"a": b"1"})
    await store.save({"b": b"1", "c": b"1", "d": b"1"})
    await store.save({"a": b"2"})

    first = await store.changes_after(0, limit=1)
    second = await store.changes_after(first.upto, limit=3)

    assert (first.upto, set(first.records)) == (2, {"b", "c", "d"})
    assert (second.upto, second.records) == (3, {"a": b"2"})
    assert (await store.changes_after(3, limit=1)).records == {}


writes = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=3), max_size=4),
        st.lists(st.sampled_from("abcdef"), max_size=3),
        st.booleans(),
    ),
    max_size=12,
)


@given(writes=writes, limit=st.integers(1, 5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_copy_that_follows_now_and_then_arrives_at_the_same_records(
    short_tmp: Path, writes: Sequence[tuple[dict[str, bytes], list[str], bool]], limit: int
) -> None:
    store = SqliteStore(short_tmp / f"{len(list(short_tmp.iterdir()))}.db", keep_tombstones=True)
    await store.open()
    copy: dict[str, bytes] = {}
    at = 0
    for records, delete, followed in writes:
        await store.save(records, delete)
        if followed:
            at = await follow(store, copy, at, limit)
            await store.forget_tombstones(at)
    await follow(store, copy, at, limit)

    assert copy == await store.load("")
    await store.close()


async def test_a_copy_below_forgotten_deletions_is_known_to_need_everything(store: SqliteStore) -> None:
    await store.save({"a": b"1", "b": b"1"})
    await store.save({}, ["a"])
    assert store.deletions_known_after == 0

    await store.forget_tombstones(10_000)

    assert store.deletions_known_after == 2
    assert (await store.changes_after(1, limit=10)).records == {}
    await store.save({}, ["b"])
    assert (await store.changes_after(2, limit=10)).records == {"b": None}


async def test_without_a_second_copy_nothing_of_a_deleted_record_is_kept(store: SqliteStore, short_tmp: Path) -> None:
    await store.save({"a": b"1", "b": b"2"}, [])
    await store.save({}, ["a"])
    await store.close()
    alone = SqliteStore(short_tmp / "state.db")
    await alone.open()

    await alone.save({}, ["b"])

    assert (await alone.changes_after(0, limit=10)).records == {}
    assert alone.deletions_known_after == alone.position.sequence
    await alone.close()


async def test_taking_over_another_copy_keeps_the_own_one_aside(store: SqliteStore, short_tmp: Path) -> None:
    await store.save({"own": b"1", "shared": b"own"})
    own = store.position

    await store.replace(OTHER, parts({"shared": b"other"}, {"new": b"2"}))

    assert store.position == OTHER
    assert await store.load("") == {"new": b"2", "shared": b"other"}
    (aside,) = short_tmp.glob("*superseded*")
    assert aside.name == "state.db.superseded-1-1"
    assert aside.stat().st_mode & 0o777 == 0o600
    kept = SqliteStore(aside)
    assert await kept.peek() == own
    await kept.open()
    assert await kept.load("") == {"own": b"1", "shared": b"own"}
    await kept.close()


async def test_a_file_without_records_is_not_kept_aside(store: SqliteStore, short_tmp: Path) -> None:
    await store.replace(OTHER, parts({"a": b"1"}))

    assert not list(short_tmp.glob("*superseded*"))


async def test_what_was_taken_over_survives_reopening_and_is_written_on(store: SqliteStore) -> None:
    await store.replace(OTHER, parts({"a": b"1"}))
    change = await store.write({"b": b"2"})
    assert change.previous == OTHER.sequence
    await store.close()

    assert await store.open() == OTHER.epoch + 1
    assert await store.load("") == {"a": b"1", "b": b"2"}


async def test_our_epoch_stays_when_the_other_copy_has_a_lower_one(store: SqliteStore) -> None:
    for _ in range(9):
        await store.close()
        await store.open()

    await store.replace(OTHER, parts({"a": b"1"}))

    assert store.position == Position(lineage="another", epoch=10, sequence=40)
    await store.save({"b": b"2"})


async def test_a_copy_that_breaks_off_leaves_everything_as_it_was(store: SqliteStore, short_tmp: Path) -> None:
    await store.save({"own": b"1"})
    before = store.position

    with pytest.raises(ConnectionResetError):
        await store.replace(OTHER, cut_off({"stray": b"x"}))

    assert store.position == before
    assert await store.load("") == {"own": b"1"}
    assert not [*short_tmp.glob("*superseded*"), *short_tmp.glob("*incoming*")]
    await store.replace(OTHER, parts({"new": b"1"}))
    assert await store.load("") == {"new": b"1"}


async def test_what_an_earlier_attempt_left_is_not_taken_over(store: SqliteStore, short_tmp: Path) -> None:
    incoming = short_tmp / "state.db.incoming"
    with closing(sqlite3.connect(incoming)) as other, other:
        other.execute("CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        other.execute("INSERT INTO records VALUES ('stray', x'00')")

    await store.replace(OTHER, parts({"new": b"1"}))

    assert await store.load("") == {"new": b"1"}
    assert not incoming.exists()
    incoming.touch()
    await store.close()
    await store.open()
    assert not incoming.exists()


async def test_an_epoch_is_above_that_of_the_other_copy_too(short_tmp: Path) -> None:
    store = SqliteStore(short_tmp / "state.db")

    assert await store.open(above=9) == 10
    await store.close()
    assert await store.open(above=3) == 11
    await store.close()


async def test_a_copy_that_was_taken_over_can_be_handed_on_in_parts(store: SqliteStore) -> None:
    records = {f"{number:03}": b"x" for number in range(200)}
    await store.replace(OTHER, parts(records))
    copy: dict[str, bytes] = {}

    first = await store.changes_after(0, limit=20)
    assert len(first.records) <= 20
    await follow(store, copy, 0, limit=20)

    assert copy == records
    assert store.deletions_known_after == OTHER.sequence


async def test_a_supervisor_that_was_replaced_can_write_nothing_more(store: SqliteStore, short_tmp: Path) -> None:
    await store.save({"a": b"1"})
    (short_tmp / "state.db.lock").unlink()  # as on a file system whose locks do not work
    successor = SqliteStore(short_tmp / "state.db")
    await successor.open()

    with pytest.raises(FencedError, match=r"epoch 2, ours was 1.*Nothing was written"):
        await store.save({"a": b"stray", "b": b"stray"}, ["a"])
    with pytest.raises(FencedError):
        await store.replace(OTHER, parts({"a": b"stray"}))

    assert "taken over" in store.health.warning
    assert await successor.load("") == {"a": b"1"}
    await successor.close()


async def test_a_store_that_is_not_open_says_so(short_tmp: Path) -> None:
    store = SqliteStore(short_tmp / "state.db")
    with pytest.raises(StoreError, match="is not open"):
        await store.save({"a": b"1"})
    await store.open()
    with pytest.raises(StoreError, match="is open already"):
        await store.open()
    await store.close()
    with pytest.raises(StoreError, match="is not open"):
        await store.load("")
