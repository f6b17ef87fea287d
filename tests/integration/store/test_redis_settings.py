"""From a team's settings to its store."""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from supervisor.settings import Settings
from supervisor.store.opening import open_store
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.redis_server import server


async def test_without_redis_the_state_is_in_the_file_alone(short_tmp: Path) -> None:
    home = Home(short_tmp / "home")
    home.create()

    store = await open_store(home, Settings())

    assert isinstance(store, SqliteStore)
    await store.save({"a": b"1"})
    assert home.state_file.exists()
    await store.close()


async def test_two_homes_use_one_redis_side_by_side(short_tmp: Path) -> None:
    homes = [Home(short_tmp / name) for name in ("one", "two")]
    with server(short_tmp / "redis") as redis:
        by_url = Settings(redis_url=redis.url)
        by_host = Settings(redis_host="127.0.0.1", redis_port=redis.port)
        for home, settings in zip(homes, (by_url, by_host), strict=True):
            home.create()
            store = await open_store(home, settings)
            await store.save({"mine": home.root.name.encode()})
            assert store.health.description == f"SQLite and Redis (redis://127.0.0.1:{redis.port}/0)"
            assert store.health.warning == ""
            await store.close()
        found = {key.decode() for key in redis.client.scan_iter()}

    assert found == {f"{{phalanx:{home.identity}}}:{part}" for home in homes for part in ("meta", "records")}


async def test_a_home_whose_state_was_lost_gets_it_back(short_tmp: Path) -> None:
    home = Home(short_tmp / "home")
    home.create()
    with server(short_tmp / "redis") as redis:
        settings = Settings(redis_url=redis.url)
        store = await open_store(home, settings)
        await store.save({"a": b"1"})
        await store.close()
        home.state_file.unlink()
        for part in home.root.glob("state.db-*"):
            part.unlink()

        store = await open_store(home, settings)
        assert await store.load("") == {"a": b"1"}
        await store.close()
