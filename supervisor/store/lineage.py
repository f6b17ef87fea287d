"""Which of two copies of a team's state is newer; pure.

What the copies of a team's state say about themselves, so that it can be decided which one is newer.

A copy is at a ``Position``. Every write moves it by one and is a ``Change``. A copy that stayed behind is brought up to
date with the ``Changes`` after its own position. Made by ``SqliteStore``, read by whoever keeps a second copy.

Which of two copies of a team's state has everything, decided by who wrote them. Pure.

Each supervisor that opens the state is a session and notes itself in the state before anything else. So a copy carries
the list of its writers, and of two copies one is the older if all it has is also in the other. If each has something
that the other lacks they have parted (a supervisor went on with an old backup, or two ran apart), and neither may
replace the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import msgpack

from actors.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    lineage: str = ""
    """Random, made with the first copy and handed on to every further one. Copies of two lineages are two teams."""
    epoch: int = 0
    """Which writer wrote last; each supervisor that opens the state takes a higher one. 0 is an empty copy."""
    sequence: int = 0
    """How many writes the lineage has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write, as it must be made in every other copy: whole, and only in a copy that is at ``previous``."""

    previous: int
    position: Position
    records: Mapping[str, bytes | None]
    """None is a deleted record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A part of what a copy that stayed behind lacks, oldest first."""

    upto: int
    """A copy that takes these records over, and had all before them, has everything through this sequence.

    A record that was written again later is left out here and comes with its last write, so the copy is consistent
    only when it has arrived at the position of the store.
    """
    records: Mapping[str, bytes | None]
    """None is a deleted record."""


_VERSION = 1
_KEPT = 1000
"""Sessions that are remembered; two copies that have been apart for longer are taken to have parted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSession:
    """One supervisor's time as the writer. ``start`` is the sequence at which it found the state."""

    epoch: int
    token: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPosition:
    """How far a copy is, and who wrote it, oldest first."""

    position: Position
    sessions: Sequence[WriterSession]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSessions:
    """This supervisor's session, and those before it, as the file knows them."""

    sessions: tuple[WriterSession, ...]

    @property
    def epoch(self) -> int:
        return self.sessions[-1].epoch

    @property
    def fence(self) -> str:
        return f"{self.epoch}:{self.sessions[-1].token}"


class Relation(Enum):
    FILE_HAS_ALL = auto()
    """Also when both are the same."""
    REDIS_HAS_ALL = auto()
    PARTED = auto()


def compare(file: CopyPosition, redis: CopyPosition) -> Relation:
    """A copy at sequence 0 is empty: the other one has all."""
    if redis.position.sequence == 0:
        return Relation.FILE_HAS_ALL
    if file.position.sequence == 0:
        return Relation.REDIS_HAS_ALL
    if file.position.lineage != redis.position.lineage:
        return Relation.PARTED
    common = {*file.sessions} & {*redis.sessions}
    in_file = _after(file.sessions, common)
    in_redis = _after(redis.sessions, common)
    if in_file and in_redis:
        return Relation.PARTED
    if in_redis:
        return Relation.REDIS_HAS_ALL if file.position.sequence <= in_redis[0].start else Relation.PARTED
    if in_file:
        return Relation.FILE_HAS_ALL if redis.position.sequence <= in_file[0].start else Relation.PARTED
    ahead = redis.position.sequence > file.position.sequence
    return Relation.REDIS_HAS_ALL if ahead else Relation.FILE_HAS_ALL


def _after(sessions: Sequence[WriterSession], common: set[WriterSession]) -> Sequence[WriterSession]:
    """Those after the last one that both copies have seen."""
    shared = [index for index, session in enumerate(sessions) if session in common]
    return sessions[shared[-1] + 1 :] if shared else sessions


def parted(file: CopyPosition, redis: CopyPosition, meta_key: str) -> str:
    """The end of a sentence that begins with the name of the server: what is there, and how to choose."""
    return (
        f"holds a state of this team (epoch {redis.position.epoch}, {redis.position.sequence} writes) that has parted "
        f"from the file in the home (epoch {file.position.epoch}, {file.position.sequence} writes): each has something "
        "that the other lacks, and neither is overwritten. Choose one while the team is down: for the file, run "
        f"redis-cli DEL '{meta_key}'; for Redis, move the home's state.db and every state.db-* beside it away"
    )


def encode(sessions: Sequence[WriterSession]) -> bytes:
    rows = [(session.epoch, session.token, session.start) for session in sessions[-_KEPT:]]
    return bytes([_VERSION]) + bytes(msgpack.packb(rows))


class SessionsVersionError(StoreError):
    """The text is the end of a sentence that begins with whose list it is."""


def decode(record: bytes) -> tuple[WriterSession, ...]:
    """Empty for no record. Raises ``SessionsVersionError`` for one that this program cannot read: without it nobody
    could tell which copy has everything."""
    if not record:
        return ()
    if record[0] != _VERSION:
        raise SessionsVersionError(
            f"was last used by another version of Phalanx (its list of writers has version {record[0]}, this one reads "
            f"{_VERSION}). Nothing was changed. Use the version that wrote it"
        )
    rows = msgpack.unpackb(record[1:])
    return tuple(WriterSession(epoch=epoch, token=token, start=start) for epoch, token, start in rows)
