"""Every kind of Redis that an address may name, and what is said of one that cannot be used as it is named."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from redis.crc import key_slot

from actors.errors import SettingsError
from supervisor.store.redis_client import RedisServer, connect, explain
from tests.integration.store.copies import KEYS, copies_agree, in_redis, make_replicated
from tests.integration.store.redis_server import RedisProcess, cluster, free_port, server, tls_cluster, tls_server


async def test_tls_and_a_password_work_and_the_password_is_nowhere_to_be_seen(
    short_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with tls_server(short_tmp / "redis", password="s3cr/t") as process:
        store = make_replicated(short_tmp / "state.db", process.url)
        await store.open()
        await store.save({"a": b"1"})
        assert in_redis(process.client) == {"a": b"1"}
        seen = [store.health.description]
        process.kill()
        await store.save({"a": b"2"})
        seen += [store.health.warning, caplog.text]
        await store.close()

    assert "refuses connections" in seen[1]
    assert not any("s3cr" in text for text in seen)


@pytest.mark.parametrize(
    ("password", "words"), [("", "asks for a password"), ("wr0ng", "refuses the user or the password")]
)
async def test_a_wrong_password_is_told_in_words_and_the_team_starts_with_the_file(
    short_tmp: Path, password: str, words: str
) -> None:
    with server(short_tmp / "redis", password="right") as process:
        store = make_replicated(
            short_tmp / "state.db", process.url.replace(":right@", f":{password}@" * bool(password))
        )
        await store.open()
        await store.save({"a": b"1"})

        assert words in store.health.warning
        assert "wr0ng" not in store.health.warning
        assert await store.load("") == {"a": b"1"}
        await store.close()


async def test_an_untrusted_certificate_is_told_in_words(short_tmp: Path) -> None:
    with tls_server(short_tmp / "redis", password="right") as process:
        store = make_replicated(short_tmp / "state.db", process.url.partition("?")[0])
        await store.open()

        assert "cannot be reached by TLS" in store.health.warning
        await store.close()


async def test_a_cluster_keeps_the_copy_of_a_team(short_tmp: Path) -> None:
    with cluster(short_tmp) as nodes:
        first = make_replicated(short_tmp / "state.db", f"redis+cluster://127.0.0.1:{nodes[0].port}")
        await first.open()
        await asyncio.gather(*(first.save({f"message/{n}": b"x" * 200}) for n in range(200)))
        assert first.health.warning == ""
        await first.close()
        (short_tmp / "new").mkdir()

        second = make_replicated(short_tmp / "new/state.db", f"redis+cluster://127.0.0.1:{nodes[1].port}")
        await second.open()

        assert len(await second.load("")) == 200
        slot = key_slot(KEYS.records.encode())
        holding = nodes[slot * 3 // 16384]
        assert in_redis(holding.client) == await second.load("")
        holding.kill()
        await second.save({"without": b"that node"})
        assert second.health.warning
        holding.start()
        await copies_agree(second, holding.client, within_s=30)
        await second.close()


async def test_a_cluster_that_speaks_tls_only_keeps_the_copy_of_a_team(short_tmp: Path) -> None:
    with tls_cluster(short_tmp / "redis", password="right") as node:
        store = make_replicated(short_tmp / "state.db", node.url.replace("rediss://", "rediss+cluster://"))
        await store.open()
        await store.save({"a": b"1"})

        assert store.health.warning == ""
        assert in_redis(node.client) == {"a": b"1"}
        await store.close()


async def test_a_node_of_a_cluster_and_a_single_server_are_told_apart_in_words(
    running: RedisProcess, short_tmp: Path
) -> None:
    with cluster(short_tmp) as nodes:
        slot = key_slot(KEYS.records.encode())
        elsewhere = nodes[(slot * 3 // 16384 + 1) % 3]
        for url, words in (
            (elsewhere.url, "REDIS_URL must begin with redis\\+cluster://"),
            (f"redis+cluster://127.0.0.1:{running.port}", "is no cluster"),
        ):
            server_ = RedisServer.at(url)
            client = connect(server_)
            with pytest.raises(Exception) as caught:
                await client.hget(KEYS.meta, "position")
            await client.aclose()
            assert words.replace("\\", "") in explain(caught.value, server_)


def test_an_option_that_the_client_does_not_know_is_refused_without_showing_the_url() -> None:
    with pytest.raises(SettingsError) as caught:
        connect(RedisServer.at(f"redis://:s3cr%2Ft@127.0.0.1:{free_port()}/0?no_such_option=1"))

    assert "s3cr" not in str(caught.value)
