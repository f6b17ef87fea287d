"""Stores with a second copy in a Redis of the test's own, and looking at both copies side by side."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.store.keys import SESSIONS, RedisKeys
from supervisor.store.redis import RedisCopy, Writer
from supervisor.store.redis_client import RedisServer, connect
from supervisor.store.replicated import RedisReplica, Replicated
from supervisor.store.replicator import RetrySchedule

TEAM = "team"
KEYS = RedisKeys.of(TEAM)
PACE = RetrySchedule(renew_s=0.2, pause_s=0.02, longest_pause_s=0.1)
"""As in a team, but with short pauses. The bound of a save is the team's."""


def make_replicated(
    path: Path, url: str, name: str = "home", pace: RetrySchedule = PACE, lease_s: float = 15.0
) -> Replicated:
    server = RedisServer.at(url)
    copy = RedisCopy(connect(server), TEAM, Writer(name=name, lease_s=lease_s))
    return Replicated(path, RedisReplica(copy=copy, server=server), pace)


async def crash(store: Replicated) -> None:
    """Ends the store as kill -9 would: nothing is finished and nobody is told; its lock and its sockets go."""
    await store._replicator.stop()
    await store._redis.copy.close()
    await store._file.close()


def in_redis(client: Any) -> dict[str, bytes]:
    """The records that Redis has, each checked."""
    found = {}
    for key, sealed in client.hgetall(KEYS.records).items():
        assert zlib.crc32(sealed[4:], zlib.crc32(key)).to_bytes(4, "big") == sealed[:4], key
        found[key.decode()] = sealed[4:]
    found.pop(SESSIONS, None)
    return found


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - it is another process that changes it
            await asyncio.sleep(0.01)


async def copies_agree(store: Replicated, client: Any, within_s: float = 10.0) -> dict[str, bytes]:
    """Waits until Redis keeps pace again, then compares both copies record by record; what both hold."""
    await until(lambda: not store.health.warning, within_s)
    await until(lambda: _position(client) == store._file.position.sequence, within_s)
    held = await store.load("")
    assert in_redis(client) == held
    assert int(client.hget(KEYS.meta, "count")) == len(held) + 1
    return held


def _position(client: Any) -> int:
    stored = client.hget(KEYS.meta, "position")
    return int(stored.split(b":")[2]) if stored else 0
