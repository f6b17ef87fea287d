"""From a team's settings to its store."""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from supervisor.settings import Settings
from supervisor.store.mirror import make_store
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.redis_server import server


async def test_without_redis_the_state_is_in_the_file_alone(short_tmp: Path) -> None:
    home = Home(short_tmp / "home")
    home.create()

    assert isinstance(make_store(home, Settings()), SqliteStore)


async def test_two_homes_use_one_redis_side_by_side(short_tmp: Path) -> None:
    homes = [Home(short_tmp / name) for name in ("one", "two")]
    with server(short_tmp / "redis") as redis:
        by_url = Settings(redis_url=redis.url)
        by_host = Settings(redis_host="127.0.0.1", redis_port=redis.port)
        for home, settings in zip(homes, (by_url, by_host), strict=True):
            home.create()
            store = make_store(home, settings)
            await store.open()
            await store.save({"mine": home.root.name.encode()})
            assert store.health.description == f"SQLite, mirrored in Redis (redis://127.0.0.1:{redis.port}/0)"
            assert store.health.warning == ""
            await store.close()
        found = {key.decode() for key in redis.client.scan_iter()}

    assert found == {f"{{phalanx:{home.identity}}}:{part}" for home in homes for part in ("meta", "records")}
