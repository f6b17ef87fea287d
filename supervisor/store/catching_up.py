"""Brings the copy in Redis from wherever it stands to where the file stands, in bounded parts.

A little is written in one step. More is laid aside in Redis part by part and taken over in one step at the end, so at
every moment the copy is a state that the team was really in, and can be started from.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Mapping
from typing import Protocol

from supervisor.store.redis import RedisCopy, StagedPart
from supervisor.store.values import Changes, Position


class CopiedFile(Protocol):
    """What is asked of the file (``SqliteStore``) to keep a copy of it."""

    @property
    def position(self) -> Position: ...

    @property
    def deletions_known_after(self) -> int: ...

    async def changes_after(self, sequence: int, limit: int) -> Changes: ...

    async def forget_tombstones(self, upto: int) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Portions:
    """How much goes to Redis at once, and how long that may take."""

    records: int = 500
    size_bytes: int = 1_000_000
    answer_s: float = 5.0


class CatchingUp:
    """One run of it."""

    def __init__(self, file: CopiedFile, redis: RedisCopy, fence: str, portions: Portions) -> None:
        self._file = file
        self._redis = redis
        self._fence = fence
        self._portions = portions
        self._run = secrets.token_hex(8)
        self._staged = ""
        self._parts = 0

    async def bring(self, start: Position | None) -> Position:
        """Where the copy stands then. ``start`` is where it stands now; None: its content is of no use."""
        if start and start.sequence < self._file.deletions_known_after:
            start = None
        reached = start.sequence if start else 0
        gathered: dict[str, bytes | None] = {}
        while True:
            changes = await self._file.changes_after(reached, self._portions.records)
            reached, end = changes.upto, self._file.position
            gathered.update(changes.records)
            if reached == end.sequence:
                await self._finish(start, end, gathered)
                return end
            if _size(gathered) > self._portions.size_bytes:
                await self._lay_aside(gathered, whole=start is None)
                gathered = {}

    async def _finish(self, start: Position | None, end: Position, records: Mapping[str, bytes | None]) -> None:
        if start and not self._staged and _size(records) <= self._portions.size_bytes:
            await self._redis.apply(self._fence, start, end, records, self._portions.answer_s)
        else:
            await self._lay_aside(records, whole=start is None)
            await self._redis.take_over(self._fence, start, end, self._staged, self._portions.answer_s)

    async def _lay_aside(self, records: Mapping[str, bytes | None], *, whole: bool) -> None:
        for records_of_part in _parts(records, self._portions.size_bytes):
            self._parts += 1
            name = f"{self._run}:{self._parts}"
            part = StagedPart(name=name, previous=self._staged, whole=whole, records=records_of_part)
            await self._redis.stage(self._fence, part, self._portions.answer_s)
            self._staged = name


def _parts(records: Mapping[str, bytes | None], size_bytes: int) -> Iterator[Mapping[str, bytes | None]]:
    """At least one, and none bigger than ``size_bytes`` but for a record that is bigger itself."""
    part: dict[str, bytes | None] = {}
    size = 0
    for key, value in records.items():
        more = len(key) + len(value or b"")
        if part and size + more > size_bytes:
            yield part
            part, size = {}, 0
        part[key] = value
        size += more
    yield part


def _size(records: Mapping[str, bytes | None]) -> int:
    return sum(len(key) + len(value or b"") for key, value in records.items())
