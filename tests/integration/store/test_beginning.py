"""A state that holds nothing is gone on with only when that is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import StateLostError
from supervisor.store.base import StateStore
from supervisor.store.replicated import Replicated
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.copies import PACE, make_replicated
from tests.integration.store.redis_server import server


async def refuse() -> None:
    raise StateLostError("agents live")


def refusing(path: Path, url: str) -> Replicated:
    return Replicated(path, make_replicated(path, url)._redis, PACE, refuse)


async def is_refused(store: StateStore) -> bool:
    try:
        await store.open()
    except StateLostError:
        return True
    await store.close()
    return False


async def test_a_file_that_is_missing_is_not_begun_anew_however_often_that_is_tried(short_tmp: Path) -> None:
    path = short_tmp / "state.db"
    for _ in range(2):
        assert await is_refused(SqliteStore(path, may_begin=refuse))


async def test_a_file_that_was_put_back_is_gone_on_with(short_tmp: Path) -> None:
    path, kept = short_tmp / "state.db", short_tmp / "kept.db"
    store = SqliteStore(path)
    await store.open()
    await store.save({"a": b"1"})
    await store.close()
    path.rename(kept)
    assert await is_refused(SqliteStore(path, may_begin=refuse))
    kept.replace(path)

    store = SqliteStore(path, may_begin=refuse)
    await store.open()
    assert await store.load("") == {"a": b"1"}
    await store.close()


async def test_a_lost_file_is_refused_while_redis_is_away_and_made_anew_from_redis_when_it_is_there(
    short_tmp: Path,
) -> None:
    path = short_tmp / "home/state.db"
    path.parent.mkdir()
    with server(short_tmp / "redis") as redis:
        store = make_replicated(path, redis.url)
        await store.open()
        await store.save({"a": b"1"})
        await store.close()
        for file in path.parent.glob("state.db*"):
            file.unlink()
        with pytest.raises(StateLostError):
            await refusing(path, "redis://127.0.0.1:1").open()

        store = refusing(path, redis.url)
        await store.open()
        assert await store.load("") == {"a": b"1"}
        assert not store.health.warning
        await store.close()
