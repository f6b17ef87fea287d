"""Which of two copies has everything, against copies that remember every single write."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.store.lineage import (
    CopyPosition,
    Position,
    Relation,
    SessionsVersionError,
    WriterSession,
    compare,
    decode,
    encode,
)


@dataclass
class Copy:
    """A copy as it is, and the writes in it, each of which is unlike any other."""

    epoch: int = 0
    sessions: list[WriterSession] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)

    def standing(self) -> CopyPosition:
        position = Position(lineage="team", epoch=self.epoch, sequence=len(self.writes))
        return CopyPosition(position=position, sessions=decode(encode(self.sessions)))


def truth(file: Copy, redis: Copy) -> Relation:
    if file.writes[: len(redis.writes)] == redis.writes:
        return Relation.FILE_HAS_ALL
    if redis.writes[: len(file.writes)] == file.writes:
        return Relation.REDIS_HAS_ALL
    return Relation.PARTED


EVENT = st.one_of(
    st.tuples(st.just("session"), st.integers(0, 4), st.integers(0, 4)),
    st.tuples(
        st.sampled_from(["back up file", "restore file", "back up redis", "restore redis"]), st.just(0), st.just(0)
    ),
    st.tuples(st.sampled_from(["lose file", "lose redis", "put back file"]), st.just(0), st.just(0)),
)


@dataclass
class World:
    """The two copies of a team, a backup of each, and names for writes."""

    file: Copy = field(default_factory=Copy)
    redis: Copy = field(default_factory=Copy)
    backups: dict[str, Copy] = field(default_factory=dict)
    names: itertools.count[int] = field(default_factory=itertools.count)

    def open_both(self, together: int, alone: int) -> bool:
        """A supervisor with both copies, and then without Redis; False when it cannot start."""
        relation = compare(self.file.standing(), self.redis.standing())
        assert relation is truth(self.file, self.redis)
        if relation is Relation.PARTED:
            return False
        if relation is Relation.REDIS_HAS_ALL:
            self.file = copy.deepcopy(self.redis)
        _run_session(self.file, self.names, together)
        self.redis = copy.deepcopy(self.file)
        _write(self.file, self.names, alone)
        return True

    def suffer(self, event: str) -> None:
        match event.split():
            case ["back", "up", which]:
                self.backups[which] = copy.deepcopy(getattr(self, which))
            case ["put", "back", which]:
                setattr(self, which, copy.deepcopy(self.backups.get(which, Copy())))
            case ["restore", which]:
                setattr(self, which, copy.deepcopy(self.backups.get(which, Copy())))
                if which == "file":  # and the next supervisor begins while Redis is away
                    _run_session(self.file, self.names, 0)
            case ["lose", which]:
                setattr(self, which, Copy())


@settings(max_examples=1000, deadline=None)
@given(st.lists(EVENT, max_size=12))
def test_the_copy_with_everything_is_found_whatever_was_restored_and_whoever_was_away(
    events: list[tuple[str, int, int]],
) -> None:
    world = World()
    for event, together, alone in events:
        if event != "session":
            world.suffer(event)
        elif not world.open_both(together, alone):
            return
    assert compare(world.file.standing(), world.redis.standing()) is truth(world.file, world.redis)


def _run_session(file: Copy, names: itertools.count[int], writes: int) -> None:
    file.epoch += 1
    file.sessions.append(WriterSession(epoch=file.epoch, token=str(next(names)), start=len(file.writes)))
    _write(file, names, 1 + writes)


def _write(file: Copy, names: itertools.count[int], count: int) -> None:
    file.writes += [next(names) for _ in range(count)]


def test_copies_of_two_lineages_have_parted() -> None:
    one = CopyPosition(position=Position(lineage="one", epoch=1, sequence=5), sessions=())
    two = CopyPosition(position=Position(lineage="two", epoch=1, sequence=5), sessions=())

    assert compare(one, two) is Relation.PARTED


def test_sessions_of_an_unknown_version_are_refused_in_words() -> None:
    assert decode(b"") == ()
    with pytest.raises(SessionsVersionError, match="version 255, this one reads 1"):
        decode(b"\xff anything")
