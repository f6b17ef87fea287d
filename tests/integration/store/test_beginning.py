"""A state that holds nothing is gone on with only when that is allowed."""

from __future__ import annotations

from pathlib import Path

from actors.errors import StateLostError
from supervisor.store.base import StateStore
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.mirrors import make_mirrored
from tests.integration.store.redis_server import RedisProcess


async def refuse() -> None:
    raise StateLostError("agents live")


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


async def test_with_a_redis_that_holds_nothing_it_is_asked_as_well(running: RedisProcess, path: Path) -> None:
    assert await is_refused(make_mirrored(path, running.url, may_begin=refuse))
    assert not await is_refused(make_mirrored(path, running.url))
