"""The mirror in Redis: what is there after saves, and what becomes of one that is lost, damaged or somebody else's."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import Any

import pytest

from actors.errors import FencedError, StateLostError, StoreError
from actors.home import Home
from supervisor.settings import Settings
from supervisor.store.choice import make_store
from supervisor.store.mirror import MirroredStore
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.conftest import is_refused, refuse, write_without_mirror
from tests.integration.store.mirrors import KEYS, in_redis, in_step, make_mirrored, until
from tests.integration.store.redis_server import RedisProcess


async def opened(path: Path, url: str, home: str = "home") -> MirroredStore:
    store = make_mirrored(path, url, home)
    await store.open()
    return store


async def test_what_is_saved_and_deleted_comes_to_redis_without_being_waited_for(
    running: RedisProcess, path: Path
) -> None:
    store = await opened(path, running.url)
    await store.save({"instance/1": b"one", "message/1": b"", "message/2": b"\x00\xff"})
    await store.save({"message/3": b"three"}, ["instance/1"])

    held = await in_step(store, running.client)

    assert held == {"message/1": b"", "message/2": b"\x00\xff", "message/3": b"three"}
    await store.close()


async def test_closing_gives_redis_what_it_lacks(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await asyncio.gather(*(store.save({f"message/{n}": b"x" * 1000}) for n in range(300)))
    await store.close()

    assert len(in_redis(running.client)) == 300


async def test_saves_go_to_redis_together(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await in_step(store, running.client)
    before = running.client.info("commandstats")["cmdstat_eval"]["calls"]

    await asyncio.gather(*(store.save({f"message/{n}": b"x", "last": str(n).encode()}) for n in range(300)))

    await in_step(store, running.client)
    assert running.client.info("commandstats")["cmdstat_eval"]["calls"] - before < 60
    await store.close()


async def test_a_save_of_many_megabytes_arrives_whole(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await store.save({f"message/{n}": bytes([n]) * 100_000 for n in range(100)})

    assert len(await in_step(store, running.client)) == 100
    await store.close()


async def test_more_than_memory_keeps_is_written_whole_when_redis_is_back(
    running: RedisProcess, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.store.mirror._MOST_CHANGES", 10)
    store = await opened(path, running.url)
    await store.save({"first": b"1"})
    running.kill()
    for number in range(50):
        await store.save({f"{number}": b"x"}, [f"{number - 5}"])
    running.start()

    assert set(await in_step(store, running.client)) == {"first", *map(str, range(45, 50))}
    await store.close()


def harm(client: Any, how: str) -> None:
    match how:
        case "missing":
            client.hdel(KEYS.records, "a")
        case "cut off":
            client.hset(KEYS.meta, "busy", "1")
        case "emptied":
            client.flushall()
        case "evicted":
            client.delete(KEYS.records)


@pytest.mark.parametrize("how", ["missing", "cut off", "emptied", "evicted"])
@pytest.mark.parametrize("while_open", [True, False])
async def test_a_mirror_that_was_harmed_is_written_anew(
    running: RedisProcess, path: Path, how: str, while_open: bool
) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1", "b": b"2"})
    await in_step(store, running.client)
    if not while_open:
        await store.close()
    harm(running.client, how)
    if not while_open:
        store = await opened(path, running.url)

    await until(lambda: in_redis(running.client) == {"a": b"1", "b": b"2"})
    await until(lambda: not running.client.hexists(KEYS.meta, "busy"))
    await store.close()


async def test_an_old_backup_of_the_file_does_not_overwrite_what_redis_has(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"old"})
    await store.close()
    backup = path.read_bytes()
    store = await opened(path, running.url)
    await store.save({"a": b"new"})
    await store.close()
    path.write_bytes(backup)

    with pytest.raises(FencedError, match=r"restore --from-redis.*redis-cli DEL"):
        await opened(path, running.url)

    assert in_redis(running.client) == {"a": b"new"}
    running.client.delete(KEYS.meta)
    store = await opened(path, running.url)
    assert await in_step(store, running.client) == {"a": b"old"}
    await store.close()


async def test_a_supervisor_that_was_replaced_from_a_copy_of_its_home_writes_no_more(
    running: RedisProcess, path: Path, short_tmp: Path
) -> None:
    first = await opened(path, running.url, "first")
    await first.save({"a": b"1"})
    await first.close()
    copy = short_tmp / "copy.db"
    copy.write_bytes(path.read_bytes())
    await first.open()
    second = make_mirrored(copy, running.url, "second")
    with pytest.raises(FencedError, match="host:first has taken it over"):
        await second.open()  # as far as the first
    await second.open()  # further

    await until(lambda: "host:second" in first.health.warning)

    with pytest.raises(FencedError, match="host:second has taken it over"):
        await first.save({"a": b"from the first one"})
    await second.save({"b": b"2"})
    assert await in_step(second, running.client) == {"a": b"1", "b": b"2"}
    await first.close()
    await second.close()


async def test_a_missing_file_is_not_begun_anew_while_redis_holds_the_state(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    await store.close()
    path.unlink()
    for _ in range(2):
        with pytest.raises(StateLostError, match=r"on host:home.*`phalanx restore --from-redis`"):
            await opened(path, running.url)
    running.kill()
    with pytest.raises(StoreError, match=r"whether Redis holds it is not known.*refuses connections"):
        await opened(path, running.url)

    running.start()
    running.client.delete(KEYS.meta)
    store = await opened(path, running.url)
    assert await in_step(store, running.client) == {}
    await store.close()


async def test_with_a_redis_that_holds_nothing_it_is_asked_whether_a_team_may_begin(
    running: RedisProcess, path: Path
) -> None:
    assert await is_refused(make_mirrored(path, running.url, may_begin=refuse))
    assert not await is_refused(make_mirrored(path, running.url))


async def test_a_mirror_of_a_later_version_is_reported_and_left_alone(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
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
    with pytest.raises(StateLostError, match="another version of Phalanx wrote"):
        await opened(path, running.url)
    await write_without_mirror(path)

    store = await opened(path, running.url)

    assert await in_step(store, running.client) == {"before": b"1"}
    assert not running.client.hexists(KEYS.meta, "position")
    await store.close()


def test_without_redis_in_the_settings_the_state_is_in_the_file_alone(short_tmp: Path) -> None:
    home = Home(short_tmp)
    home.create()

    assert isinstance(make_store(home, Settings()), SqliteStore)


async def test_two_homes_use_one_redis_side_by_side(running: RedisProcess, short_tmp: Path) -> None:
    homes = [Home(short_tmp / name) for name in ("one", "two")]
    by_url = Settings(redis_url=running.url)
    by_host = Settings(redis_host="127.0.0.1", redis_port=running.port)
    for home, settings in zip(homes, (by_url, by_host), strict=True):
        home.create()
        store = make_store(home, settings)
        await store.open()
        await store.save({"mine": home.root.name.encode()})
        assert store.health.description == f"SQLite, mirrored in Redis (redis://127.0.0.1:{running.port}/0)"
        assert store.health.warning == ""
        await store.close()

    found = {key.decode() for key in running.client.scan_iter()}
    assert found == {f"{{phalanx:{home.identity}}}:{part}" for home in homes for part in ("meta", "records")}
