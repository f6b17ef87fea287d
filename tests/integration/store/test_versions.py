"""What another version of Phalanx has written in Redis: refused or reported in words, or written anew from the file."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from actors.errors import StateLostError
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.mirrors import KEYS, in_step, make_mirrored, until
from tests.integration.store.redis_server import RedisProcess


async def test_a_mirror_of_a_later_version_is_reported_and_left_alone(running: RedisProcess, path: Path) -> None:
    store = make_mirrored(path, running.url)
    await store.open()
    await store.save({"a": b"1"})
    await store.close()
    running.client.hset(KEYS.meta, "layout", "7")
    before = {key: running.client.hgetall(key) for key in (KEYS.meta, KEYS.records)}

    await store.open()
    await until(lambda: "another version of Phalanx wrote (layout 7, this one knows 2)" in store.health.warning)
    await store.save({"b": b"2"})
    await store.close()

    assert {key: running.client.hgetall(key) for key in (KEYS.meta, KEYS.records)} == before


async def test_the_copy_of_an_earlier_version_is_written_anew_from_the_file_and_never_begun_beside(
    running: RedisProcess, path: Path
) -> None:
    running.client.hset(KEYS.meta, mapping={"position": "lineage:3:7:00000000", "fence": "3:token", "count": 1})
    running.client.hset(KEYS.records, "old", zlib.crc32(b"oldvalue").to_bytes(4, "big") + b"value")
    store = make_mirrored(path, running.url)
    with pytest.raises(StateLostError, match="another version of Phalanx wrote"):
        await store.open()
    alone = SqliteStore(path)
    await alone.open()
    await alone.save({"a": b"1"})
    await alone.close()

    await store.open()

    assert await in_step(store, running.client) == {"a": b"1"}
    assert not running.client.hexists(KEYS.meta, "position")
    await store.close()
