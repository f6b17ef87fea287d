"""The backlog, and bringing a copy up to date while the file is written on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.store.lineage import Change, Changes, Position
from supervisor.store.redis import RedisCopy, StagedPart
from supervisor.store.replicator import Backlog, CatchUp, Portions, merged

Records = Mapping[str, bytes | None]


def change(number: int, records: Records | None = None) -> Change:
    return Change(previous=number - 1, position=Position(lineage="l", epoch=1, sequence=number), records=records or {})


def numbers(changes: Sequence[Change]) -> list[int]:
    return [each.position.sequence for each in changes]


def test_what_redis_has_already_is_left_out_and_the_rest_comes_in_order() -> None:
    backlog = Backlog()
    backlog.restart()
    for number in (3, 4, 5, 6):
        backlog.add(change(number))

    assert numbers(backlog.take(4, 1000)) == [5, 6]
    assert backlog.kept


def test_big_changes_go_one_by_one() -> None:
    backlog = Backlog()
    backlog.restart()
    for number in (1, 2):
        backlog.add(change(number, {"key": b"x" * 600}))

    assert numbers(backlog.take(0, 1000)) == [1]
    assert numbers(backlog.take(1, 1000)) == [2]


@pytest.mark.parametrize("present", [(1, 3), (2, 3)], ids=["in the middle", "at the front"])
def test_a_change_that_is_missing_is_noticed(present: tuple[int, int]) -> None:
    backlog = Backlog()
    backlog.restart()
    for number in present:
        backlog.add(change(number))

    assert not backlog.take(0, 1000)
    assert not backlog.kept


def test_a_backlog_that_nobody_empties_does_not_grow_without_end() -> None:
    backlog = Backlog()
    backlog.restart()
    for number in range(1, 6000):
        backlog.add(change(number))

    assert not backlog.kept
    assert not backlog


def test_of_several_values_the_last_one_counts() -> None:
    assert merged([change(1, {"a": b"1", "b": b"1"}), change(2, {"a": None})]) == {"a": None, "b": b"1"}


class FileInMemory:
    """Answers as ``SqliteStore`` does; after each answer one more of ``later`` is written."""

    def __init__(self, later: Sequence[Records]) -> None:
        self.rows: dict[str, tuple[bytes | None, int]] = {}
        self.position = Position(lineage="l", epoch=2)
        self.deletions_known_after = 0
        self._later = list(later)

    def write(self, records: Records) -> None:
        sequence = self.position.sequence + 1
        self.position = Position(lineage="l", epoch=2, sequence=sequence)
        self.rows.update({key: (value, sequence) for key, value in records.items()})

    async def changes_after(self, sequence: int, limit: int) -> Changes:
        rows = sorted((at, key, value) for key, (value, at) in self.rows.items() if at > sequence)
        upto = self.position.sequence
        if len(rows) > limit:
            begun = rows[limit][0]
            rows = [row for row in rows if row[0] < begun] or [row for row in rows if row[0] == begun]
            upto = rows[-1][0]
        if self._later:
            self.write(self._later.pop(0))
        return Changes(upto=upto, records={key: value for _, key, value in rows})

    async def forget_tombstones(self, upto: int) -> None:
        raise AssertionError

    def content(self) -> dict[str, bytes]:
        return {key: value for key, (value, _) in self.rows.items() if value is not None}


class RedisInMemory(RedisCopy):
    """Does what the scripts do."""

    def __init__(self, content: dict[str, bytes], position: Position | None) -> None:
        self.content = content
        self.at = position
        self.staging: dict[str, bytes | None] = {}
        self.staged = ""
        self.biggest = 0

    async def apply(self, fence: str, start: Position, end: Position, records: Records, within_s: float) -> None:
        assert start == self.at
        self._put(records)
        self.at = end

    async def stage(self, fence: str, part: StagedPart, within_s: float) -> None:
        if not part.previous:
            self.staging = {}
        else:
            assert part.previous == self.staged
        self.staged = part.name
        for key, value in part.records.items():
            if part.whole and value is None:
                self.staging.pop(key, None)
            else:
                self.staging[key] = value
        self.biggest = max(self.biggest, sum(len(value or b"") for value in part.records.values()))

    async def take_over(self, fence: str, start: Position | None, end: Position, staged: str, within_s: float) -> None:
        assert staged == self.staged
        if start is None:
            assert None not in self.staging.values()
            self.content = {}
        else:
            assert start == self.at
        self._put(self.staging)
        self.at = end

    def _put(self, records: Records) -> None:
        for key, value in records.items():
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value


RECORDS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.one_of(st.none(), st.binary(max_size=40)), min_size=1, max_size=5
)


@given(
    before=st.lists(RECORDS, max_size=8),
    missed=st.lists(RECORDS, max_size=12),
    meanwhile=st.lists(RECORDS, max_size=8),
    limit=st.integers(1, 6),
    known=st.booleans(),
)
async def test_the_copy_arrives_at_a_state_that_the_file_was_in(
    before: list[Records], missed: list[Records], meanwhile: list[Records], limit: int, known: bool
) -> None:
    file = FileInMemory(meanwhile)
    for records in before:
        file.write(records)
    redis = RedisInMemory(file.content(), file.position if known else None)
    states = {}
    for records in missed:
        file.write(records)
    write, states[file.position.sequence] = file.write, file.content()

    def remember(records: Records) -> None:
        write(records)
        states[file.position.sequence] = file.content()

    file.write = remember  # type: ignore[method-assign]
    portions = Portions(records=limit, size_bytes=60)

    end = await CatchUp(file, redis, "2:x", portions).bring(redis.at)

    assert redis.at == end
    assert redis.content == states[end.sequence]
    assert redis.biggest <= portions.size_bytes


async def test_a_copy_from_before_the_deletions_that_are_known_is_made_anew() -> None:
    file = FileInMemory([])
    file.write({"a": b"1"})
    start = file.position
    file.write({"a": None, "b": b"1"})
    del file.rows["a"]
    file.deletions_known_after = 2
    redis = RedisInMemory({"a": b"1"}, start)

    await CatchUp(file, redis, "2:x", Portions()).bring(start)

    assert redis.content == {"b": b"1"}
