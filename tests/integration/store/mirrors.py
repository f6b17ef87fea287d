"""Stores with a mirror in a Redis of the test's own, and looking at file and mirror side by side."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.store.base import MayBegin, StateStore, always
from supervisor.store.keys import RedisKeys
from supervisor.store.mirror import MirrorClient, MirroredStore
from supervisor.store.redis_client import RedisServer

TEAM = "team"
KEYS = RedisKeys.of(TEAM)


def make_mirrored(
    path: Path, url: str, home: str = "home", team: str = TEAM, may_begin: MayBegin = always
) -> MirroredStore:
    """As in a team, but with short pauses."""
    client = MirrorClient(RedisServer.at(url), team, "host", home)
    return MirroredStore(path, client, may_begin, look_s=0.2, pause_s=0.02, longest_pause_s=0.1)


def in_redis(client: Any, keys: RedisKeys = KEYS) -> dict[str, bytes]:
    """The records that Redis has, each checked."""
    found = {}
    for key, sealed in client.hgetall(keys.records).items():
        assert zlib.crc32(sealed[4:], zlib.crc32(key)).to_bytes(4, "big") == sealed[:4], key
        found[key.decode()] = sealed[4:]
    return found


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - it is another process that changes it
            await asyncio.sleep(0.01)


async def in_step(store: StateStore, client: Any, within_s: float = 10.0) -> dict[str, bytes]:
    """Waits until Redis has what the file has, and nothing is wrong; what both hold."""
    held = await store.load("")
    count = str(len(held)).encode()
    await until(
        lambda: not store.health.warning and client.hget(KEYS.meta, "count") == count and in_redis(client) == held,
        within_s,
    )
    return held
