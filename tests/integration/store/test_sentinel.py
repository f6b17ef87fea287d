"""A Redis whose master is found by its sentinels, before and after a failover."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import SettingsError
from supervisor.store.redis_client import RedisServer, connect
from tests.integration.store.mirrors import in_step, make_mirrored, until
from tests.integration.store.redis_server import free_port, server, watched
from tests.integration.store.test_redis_servers import begin

PASSWORD = "s3cret"
FAILOVER_S = 30.0


async def test_the_mirror_is_with_the_master_that_a_sentinel_names_and_with_its_successor(short_tmp: Path) -> None:
    with watched(short_tmp, PASSWORD) as redis:
        sentinels = f"127.0.0.1:{free_port()},127.0.0.1:{redis.sentinel.port}"
        url = f"redis+sentinel://:{PASSWORD}@{sentinels}{redis.options}"
        store = make_mirrored(short_tmp / "state.db", url)
        await store.open()
        await store.save({"a": b"1"})
        await in_step(store, redis.master.client)
        assert store.health.description.endswith(f"(redis+sentinel://***@{sentinels}/mymaster/0?…)")

        redis.master.kill()
        await store.save({"b": b"2"})
        await until(lambda: bool(store.health.warning))
        assert PASSWORD not in store.health.warning
        await until(lambda: redis.replica.client.info("replication")["role"] == "master", FAILOVER_S)

        assert await in_step(store, redis.replica.client, FAILOVER_S) == {"a": b"1", "b": b"2"}
        await store.close()


@pytest.mark.parametrize("options", ["/other/0?sentinel_password=s3cret-of-sentinel", "/mymaster/0"])
async def test_a_master_that_no_sentinel_names_is_told_in_words(short_tmp: Path, options: str) -> None:
    await begin(short_tmp / "state.db")
    with watched(short_tmp, PASSWORD) as redis:
        store = make_mirrored(
            short_tmp / "state.db", f"redis+sentinel://:{PASSWORD}@127.0.0.1:{redis.sentinel.port}{options}"
        )
        await store.open()
        await store.save({"a": b"1"})

        assert "has no master now that a sentinel names, or none of them lets this user in" in store.health.warning
        assert await store.load("a") == {"a": b"1"}
        await store.close()


async def test_a_server_that_is_no_sentinel_is_told_in_words(short_tmp: Path) -> None:
    await begin(short_tmp / "state.db")
    with server(short_tmp / "redis") as redis:
        store = make_mirrored(short_tmp / "state.db", f"redis+sentinel://127.0.0.1:{redis.port}/mymaster")
        await store.open()

        assert "is no sentinel" in store.health.warning
        await store.close()


def test_an_option_that_sentinels_do_not_know_is_refused_without_showing_the_url() -> None:
    with pytest.raises(SettingsError) as caught:
        connect(RedisServer.at("redis+sentinel://:s3cr%2Ft@one/mymaster?sentinel_pasword=s3cr"))

    assert "s3cr" not in str(caught.value)


def test_a_cluster_with_tls_is_taken_for_a_cluster() -> None:
    found = RedisServer.at("rediss+cluster://:pw@node-1:7000")

    assert (found.url, found.cluster) == ("rediss://:pw@node-1:7000", True)
