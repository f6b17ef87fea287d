"""Every kind of Redis that an address may name, and what is said of one that cannot be used as it is named."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from redis.crc import key_slot

from actors.errors import SettingsError
from supervisor.store.mirror import MirrorClient
from supervisor.store.redis_client import RedisServer, connect, explain
from tests.integration.store.conftest import write_without_mirror
from tests.integration.store.mirrors import KEYS, TEAM, in_step, make_mirrored, until
from tests.integration.store.redis_server import (
    RedisProcess,
    cluster,
    free_port,
    server,
    tls_cluster,
    tls_server,
    watched,
)

PASSWORD = "s3cret"
FAILOVER_S = 30.0


async def test_tls_and_a_password_work_and_the_password_is_nowhere_to_be_seen(
    short_tmp: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with tls_server(short_tmp / "redis", password="s3cr/t") as process:
        store = make_mirrored(path, process.url)
        await store.open()
        await store.save({"a": b"1"})
        await in_step(store, process.client)
        seen = [store.health.description]
        process.kill()
        await store.save({"a": b"2"})
        await until(lambda: "refuses connections" in store.health.warning)
        seen += [store.health.warning, caplog.text]
        await store.close()

    assert "refuses connections" in seen[1]
    assert not any("s3cr" in text for text in seen)


@pytest.mark.parametrize(
    ("password", "words"), [("", "asks for a password"), ("wr0ng", "refuses the user or the password")]
)
async def test_a_wrong_password_is_told_in_words_and_the_team_goes_on_with_the_file(
    short_tmp: Path, path: Path, password: str, words: str
) -> None:
    await write_without_mirror(path)
    with server(short_tmp / "redis", password="right") as process:
        store = make_mirrored(path, process.url.replace(":right@", f":{password}@" * bool(password)))
        await store.open()
        await store.save({"a": b"1"})

        assert words in store.health.warning
        assert "wr0ng" not in store.health.warning
        assert await store.load("a") == {"a": b"1"}
        await store.close()


async def test_an_untrusted_certificate_is_told_in_words(short_tmp: Path, path: Path) -> None:
    await write_without_mirror(path)
    with tls_server(short_tmp / "redis", password="right") as process:
        store = make_mirrored(path, process.url.partition("?")[0])
        await store.open()

        assert "cannot be reached by TLS" in store.health.warning
        await store.close()


async def test_a_cluster_keeps_the_mirror_of_a_team(short_tmp: Path, path: Path) -> None:
    with cluster(short_tmp) as nodes:
        first = make_mirrored(path, f"redis+cluster://127.0.0.1:{nodes[0].port}")
        await first.open()
        await asyncio.gather(*(first.save({f"message/{n}": b"x" * 200}) for n in range(200)))
        assert first.health.warning == ""
        await first.close()

        second = make_mirrored(path, f"redis+cluster://127.0.0.1:{nodes[1].port}")
        await second.open()

        holding = nodes[key_slot(KEYS.records.encode()) * 3 // 16384]
        assert len(await in_step(second, holding.client)) == 200
        client = MirrorClient(RedisServer.at(f"redis+cluster://127.0.0.1:{nodes[1].port}"), TEAM, "host", "home")
        found = await client.read()
        assert found is not None
        assert found.records == await second.load("")
        await client.close()
        holding.kill()
        await second.save({"without": b"that node"})
        await until(lambda: bool(second.health.warning))
        holding.start()
        await in_step(second, holding.client, within_s=30)
        await second.close()


async def test_a_cluster_that_speaks_tls_only_keeps_the_mirror_of_a_team(short_tmp: Path, path: Path) -> None:
    with tls_cluster(short_tmp / "redis", password="right") as node:
        store = make_mirrored(path, node.url.replace("rediss://", "rediss+cluster://"))
        await store.open()
        await store.save({"a": b"1"})

        assert await in_step(store, node.client) == {"a": b"1"}
        await store.close()


async def test_a_node_of_a_cluster_and_a_single_server_are_told_apart_in_words(
    running: RedisProcess, short_tmp: Path
) -> None:
    with cluster(short_tmp) as nodes:
        slot = key_slot(KEYS.records.encode())
        elsewhere = nodes[(slot * 3 // 16384 + 1) % 3]
        for url, words in (
            (elsewhere.url, "REDIS_URL must begin with redis+cluster://"),
            (f"redis+cluster://127.0.0.1:{running.port}", "is no cluster"),
        ):
            server_ = RedisServer.at(url)
            client = connect(server_)
            with pytest.raises(Exception) as caught:
                await client.hget(KEYS.meta, "sequence")
            await client.aclose()
            assert words in explain(caught.value, server_)


@pytest.mark.parametrize(
    "address",
    [
        "redis://:s3cr%2Ft@127.0.0.1:1/0?no_such_option=1",
        "redis+sentinel://:s3cr%2Ft@one/mymaster?sentinel_pasword=s3cr",
    ],
)
def test_an_option_that_the_client_does_not_know_is_refused_without_showing_the_url(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connect(RedisServer.at(address))

    assert "s3cr" not in str(caught.value)


async def test_the_mirror_is_with_the_master_that_a_sentinel_names_and_with_its_successor(
    short_tmp: Path, path: Path
) -> None:
    with watched(short_tmp, PASSWORD) as redis:
        sentinels = f"127.0.0.1:{free_port()},127.0.0.1:{redis.sentinel.port}"
        url = f"redis+sentinel://:{PASSWORD}@{sentinels}{redis.options}"
        store = make_mirrored(path, url)
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
async def test_a_master_that_no_sentinel_names_is_told_in_words(short_tmp: Path, path: Path, options: str) -> None:
    await write_without_mirror(path)
    with watched(short_tmp, PASSWORD) as redis:
        store = make_mirrored(path, f"redis+sentinel://:{PASSWORD}@127.0.0.1:{redis.sentinel.port}{options}")
        await store.open()
        await store.save({"a": b"1"})

        assert "has no master now that a sentinel names, or none of them lets this user in" in store.health.warning
        assert await store.load("a") == {"a": b"1"}
        await store.close()


async def test_a_server_that_is_no_sentinel_is_told_in_words(running: RedisProcess, path: Path) -> None:
    await write_without_mirror(path)
    store = make_mirrored(path, f"redis+sentinel://127.0.0.1:{running.port}/mymaster")
    await store.open()

    assert "is no sentinel" in store.health.warning
    await store.close()


def test_a_cluster_with_tls_is_taken_for_a_cluster() -> None:
    found = RedisServer.at("rediss+cluster://:pw@node-1:7000")

    assert (found.url, found.cluster) == ("rediss://:pw@node-1:7000", True)
