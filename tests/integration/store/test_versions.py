"""What a later version of Phalanx has written: refused or reported in words, and left exactly as it is."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from actors.errors import StoreError
from supervisor.store.keys import SESSIONS
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.copies import KEYS, make_replicated, until
from tests.integration.store.redis_server import RedisProcess

LATER = b"\x07written by a later version"


@pytest.fixture
async def path(short_tmp: Path, running: RedisProcess) -> Path:
    """Of a state that both copies have."""
    made = short_tmp / "state.db"
    store = make_replicated(made, running.url)
    await store.open()
    await store.save({"a": b"1"})
    await store.close()
    return made


def content(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    return {key.encode(): client.hgetall(key) for key in (KEYS.meta, KEYS.records)}


async def file_of(path: Path) -> dict[str, bytes]:
    store = SqliteStore(path)
    await store.open()
    try:
        return await store.load("")
    finally:
        await store.close()


def write_later_position(client: Any) -> None:
    client.hset(KEYS.meta, "position", b"v2;" + client.hget(KEYS.meta, "position"))


def write_later_sessions(client: Any) -> None:
    checksum = zlib.crc32(LATER, zlib.crc32(SESSIONS.encode())).to_bytes(4, "big")
    client.hset(KEYS.records, SESSIONS, checksum + LATER)


LATER_COPIES = pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(write_later_position, "was written by a newer Phalanx .layout 2", id="layout"),
        pytest.param(write_later_sessions, "was last used by another version of Phalanx", id="sessions"),
    ],
)


@LATER_COPIES
async def test_a_copy_in_redis_of_a_later_version_is_refused_and_left_alone(
    running: RedisProcess, path: Path, change: Any, words: str
) -> None:
    change(running.client)
    before, file = content(running.client), await file_of(path)
    store = make_replicated(path, running.url)
    with pytest.raises(StoreError, match=f"{words}.*redis-cli DEL"):
        await store.open()
    assert content(running.client) == before
    assert await file_of(path) == file


@LATER_COPIES
async def test_a_copy_that_turns_out_to_be_of_a_later_version_is_reported_and_left_alone(
    running: RedisProcess, path: Path, change: Any, words: str
) -> None:
    change(running.client)
    before = content(running.client)
    running.kill()
    store = make_replicated(path, running.url)
    await store.open()
    running.start()
    await until(lambda: words.partition(" .")[0] in store.health.warning)
    await store.save({"b": b"2"})
    assert content(running.client) == before
    assert await store.load("") == {"a": b"1", "b": b"2"}
    await store.close()


async def test_a_file_whose_writers_cannot_be_read_is_refused_and_left_alone(running: RedisProcess, path: Path) -> None:
    later = SqliteStore(path)
    await later.open()
    await later.save({SESSIONS: LATER})
    await later.close()
    before = content(running.client)
    for _ in range(2):
        store = make_replicated(path, running.url)
        with pytest.raises(StoreError, match=r"was last used by another version.*Use the version that wrote"):
            await store.open()
    assert (await file_of(path))[SESSIONS] == LATER
    assert content(running.client) == before
