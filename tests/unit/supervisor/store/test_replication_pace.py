"""The task that keeps Redis at the file's side ends when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from supervisor.store.lineage import Change, Changes, OwnSessions, Position, WriterSession
from supervisor.store.redis import CopyState, RedisCopy
from supervisor.store.redis_client import RedisServer
from supervisor.store.replicator import Replicator, RetrySchedule

START = Position(lineage="l", epoch=1, sequence=1)


class File:
    position = START
    deletions_known_after = 0

    async def changes_after(self, sequence: int, limit: int) -> Changes:
        return Changes(upto=self.position.sequence, records={})

    async def forget_tombstones(self, upto: int) -> None:
        """Nothing was deleted."""


class Note:
    async def put(self) -> None:
        """Nobody looks."""

    async def remove(self) -> None:
        """Nobody looks."""


class SwallowingRedis(RedisCopy):
    """Has taken the first step over, and swallows the cancellation of the second one."""

    def __init__(self) -> None:
        self.steps = 0
        self.cancelled = 0

    async def claim(self, within_s: float) -> CopyState:
        return CopyState(position=START, fence=0, damage="", sessions=b"")

    async def crown(self, fence: str, within_s: float) -> None:
        """Lets everybody in."""

    async def apply(
        self, fence: str, start: Position, end: Position, records: Mapping[str, bytes | None], within_s: float
    ) -> None:
        self.steps += 1
        if self.steps > 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1

    async def renew(self, fence: str, position: Position, within_s: float) -> None:
        """Never asked for in time."""


async def test_one_cancellation_is_enough_even_when_the_client_swallows_it() -> None:
    redis = SwallowingRedis()
    replicator = Replicator(File(), redis, RedisServer(url="", shown="here"), Note(), RetrySchedule(save_s=0.01))
    await replicator.start(OwnSessions(sessions=(WriterSession(epoch=1, token="t", start=1),)), 1)
    second = Position(lineage="l", epoch=1, sequence=2)
    await replicator.offer(Change(previous=1, position=second, records={"a": b"1"}))

    async with asyncio.timeout(5):
        await replicator.stop()

    assert redis.cancelled == 1


class SilentRedis(SwallowingRedis):
    """Never answers, and nobody has complained yet."""

    async def claim(self, within_s: float) -> CopyState:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_save_waits_no_longer_than_its_bound_while_redis_is_only_being_joined() -> None:
    replicator = Replicator(
        File(), SilentRedis(), RedisServer(url="", shown="here"), Note(), RetrySchedule(save_s=0.01)
    )
    await replicator.start(OwnSessions(sessions=(WriterSession(epoch=1, token="t", start=1),)), 0.01)
    second = Position(lineage="l", epoch=1, sequence=2)

    async with asyncio.timeout(5):
        await replicator.offer(Change(previous=1, position=second, records={"a": b"1"}))

    assert "does not answer in time" in replicator.warning
    await replicator.stop()
