"""The copy in Redis: what is there after a save, and who may use it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from actors.errors import FencedError, SettingsError, StateHeldError, StoreError
from supervisor.store.redis import CopyFencedError, CopyMovedError, RedisCopy, StagedPart, Writer
from supervisor.store.redis_client import RedisServer, connect, explain
from supervisor.store.values import Position
from tests.integration.store.copies import KEYS, TEAM, copies_agree, crash, in_redis, make_replicated, until
from tests.integration.store.redis_server import RedisProcess, cluster, free_port, server, tls_cluster, tls_server


@pytest.fixture
def running(short_tmp: Path) -> Iterator[RedisProcess]:
    with server(short_tmp / "redis") as process:
        yield process


async def test_a_record_is_in_both_copies_when_its_save_returns(running: RedisProcess, short_tmp: Path) -> None:
    store = make_replicated(short_tmp / "state.db", running.url)
    await store.open()
    await store.save({"instance/1": b"one", "message/1": b"", "message/2": b"\x00\xff"})
    await store.save({"message/3": b"three"}, ["instance/1"])

    assert in_redis(running.client) == {"message/1": b"", "message/2": b"\x00\xff", "message/3": b"three"}
    assert in_redis(running.client) == await store.load("")
    await store.close()


async def test_concurrent_saves_go_to_redis_together(running: RedisProcess, short_tmp: Path) -> None:
    store = make_replicated(short_tmp / "state.db", running.url)
    await store.open()
    before = running.client.info("stats")["total_commands_processed"]

    await asyncio.gather(*(store.save({f"message/{n}": b"x", "last": str(n).encode()}) for n in range(300)))

    assert in_redis(running.client) == await store.load("")
    # A script counts as itself and what it calls: one write of a record is one call.
    assert running.client.info("stats")["total_commands_processed"] - before < 1000
    await store.close()


async def test_a_save_of_many_megabytes_arrives_whole(running: RedisProcess, short_tmp: Path) -> None:
    store = make_replicated(short_tmp / "state.db", running.url)
    await store.open()
    await store.save({f"message/{n}": bytes([n]) * 100_000 for n in range(100)})

    assert len(await copies_agree(store, running.client)) == 100
    await store.close()


async def test_a_new_machine_gets_the_whole_state_from_redis(running: RedisProcess, short_tmp: Path) -> None:
    first = make_replicated(short_tmp / "state.db", running.url)
    await first.open()
    await first.save({f"message/{n}": str(n).encode() * 100 for n in range(3000)})
    await first.save({}, ["message/7"])
    held = await first.load("")
    await first.close()
    (short_tmp / "new").mkdir()

    second = make_replicated(short_tmp / "new/state.db", running.url, name="new")
    epoch = await second.open()

    assert await second.load("") == held
    assert epoch > 1
    await second.save({"after": b"1"})
    await copies_agree(second, running.client)
    await second.close()


async def test_another_home_is_refused_while_the_first_supervisor_lives(running: RedisProcess, short_tmp: Path) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here")
    await first.open()
    (short_tmp / "other").mkdir()
    second = make_replicated(short_tmp / "other/state.db", running.url, name="there")

    with pytest.raises(StateHeldError, match="here"):
        await second.open()

    await first.save({"first": b"goes on"})
    await first.close()
    await second.open()
    assert await second.load("") == {"first": b"goes on"}
    await second.close()


async def test_a_hold_is_renewed_for_as_long_as_its_supervisor_lives(running: RedisProcess, short_tmp: Path) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here", lease_s=0.6)
    await first.open()
    lowest = 600
    for _ in range(100):
        lowest = min(lowest, running.client.pttl(KEYS.holder))
        await asyncio.sleep(0.01)

    assert lowest > 0
    assert running.client.get(KEYS.holder) == b"here"
    await first.close()
    assert running.client.get(KEYS.holder) is None


async def test_a_supervisor_that_crashed_is_replaced_at_once_on_its_own_home(
    running: RedisProcess, short_tmp: Path
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url)
    await first.open()
    await first.save({"a": b"1"})
    await crash(first)

    second = make_replicated(short_tmp / "state.db", running.url)
    assert await second.open() == 2
    assert await second.load("") == {"a": b"1"}
    await second.close()


async def test_a_supervisor_that_crashed_is_replaced_elsewhere_when_its_hold_ends(
    running: RedisProcess, short_tmp: Path
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here", lease_s=0.5)
    await first.open()
    await first.save({"a": b"1"})
    await crash(first)
    (short_tmp / "other").mkdir()
    second = make_replicated(short_tmp / "other/state.db", running.url, name="there")
    with pytest.raises(StateHeldError):
        await second.open()

    await until(lambda: running.client.get(KEYS.holder) is None)

    await second.open()
    assert await second.load("") == {"a": b"1"}
    await second.close()


async def test_a_supervisor_that_was_replaced_while_it_was_cut_off_writes_no_more(
    running: RedisProcess, short_tmp: Path
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here")
    await first.open()
    await first.save({"a": b"1"})
    running.client.delete(KEYS.holder)
    (short_tmp / "other").mkdir()
    second = make_replicated(short_tmp / "other/state.db", running.url, name="there")
    await second.open()

    with pytest.raises(FencedError, match="epoch 2"):
        await first.save({"a": b"from the first one"})
    with pytest.raises(FencedError):
        await first.save({"b": b"and again"})

    assert "epoch 2" in first.health.warning
    await second.save({"b": b"2"})
    assert await copies_agree(second, running.client) == {"a": b"1", "b": b"2"}
    await first.close()
    assert running.client.get(KEYS.holder) == b"there"
    await second.close()


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


async def test_a_copy_that_lost_a_record_is_noticed_and_written_anew(running: RedisProcess, short_tmp: Path) -> None:
    store = make_replicated(short_tmp / "state.db", running.url)
    await store.open()
    await store.save({"a": b"1", "b": b"2"})
    running.client.hdel(KEYS.records, "a")

    await until(lambda: "a" in in_redis(running.client))

    assert await copies_agree(store, running.client) == {"a": b"1", "b": b"2"}
    await store.close()


def damage(client: Any, harm: str) -> None:
    match harm:
        case "value":
            client.hset(KEYS.records, "a", client.hget(KEYS.records, "a")[:-1] + b"7")
        case "missing":
            client.hdel(KEYS.records, "a")
        case "cut off":
            client.hset(KEYS.meta, "busy", "1")
        case "position":
            client.hset(KEYS.meta, "position", client.hget(KEYS.meta, "position").replace(b":1:", b":9:"))


@pytest.mark.parametrize("harm", ["value", "missing", "cut off", "position"])
async def test_a_damaged_copy_never_replaces_a_lost_file(running: RedisProcess, short_tmp: Path, harm: str) -> None:
    first = make_replicated(short_tmp / "state.db", running.url)
    await first.open()
    await first.save({"a": b"1", "b": b"2"})
    await first.close()
    client = running.client
    damage(client, harm)
    before = client.hgetall(KEYS.records)
    (short_tmp / "new").mkdir()

    second = make_replicated(short_tmp / "new/state.db", running.url)
    with pytest.raises(StoreError, match="redis-cli DEL"):
        await second.open()

    assert client.hgetall(KEYS.records) == before


@pytest.mark.parametrize("harm", ["missing", "cut off", "position"])
async def test_a_damaged_copy_is_written_anew_from_a_good_file(
    running: RedisProcess, short_tmp: Path, harm: str
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url)
    await first.open()
    await first.save({"a": b"1", "b": b"2"})
    await first.close()
    damage(running.client, harm)

    second = make_replicated(short_tmp / "state.db", running.url)
    await second.open()

    assert await copies_agree(second, running.client) == {"a": b"1", "b": b"2"}
    await second.close()


async def test_what_was_laid_aside_and_then_deleted_is_not_in_the_new_copy(running: RedisProcess) -> None:
    copy = RedisCopy(connect(RedisServer.at(running.url)), TEAM, Writer(name="home", lease_s=15))
    await copy.claim(1)
    await copy.crown("1:x", 1)
    first = StagedPart(name="p1", previous="", whole=True, records={"a": b"1", "b": b"1"})
    second = StagedPart(name="p2", previous="p1", whole=True, records={"a": None, "never there": None})
    await copy.stage("1:x", first, 1)
    await copy.stage("1:x", second, 1)
    await copy.take_over("1:x", None, Position(lineage="l", epoch=1, sequence=3), "p2", 1)

    assert in_redis(running.client) == {"b": b"1"}
    assert (await copy.claim(1)).damage == ""
    await copy.close()


async def test_a_part_that_comes_twice_or_out_of_turn_is_refused(running: RedisProcess) -> None:
    copy = RedisCopy(connect(RedisServer.at(running.url)), TEAM, Writer(name="home", lease_s=15))
    end = Position(lineage="l", epoch=1, sequence=3)
    await copy.claim(1)
    await copy.crown("1:x", 1)
    await copy.stage("1:x", StagedPart(name="p1", previous="", whole=True, records={"a": b"1"}), 1)
    second = StagedPart(name="p2", previous="p1", whole=True, records={"b": b"1"})
    await copy.stage("1:x", second, 1)
    for late in (
        copy.stage("1:x", second, 1),
        copy.take_over("1:x", None, end, "p1", 1),
        copy.apply("1:x", end, end, {"c": b"1"}, 1),
    ):
        with pytest.raises(CopyMovedError):
            await late
    await copy.crown("2:y", 1)
    with pytest.raises(CopyFencedError):
        await copy.take_over("1:x", None, end, "p2", 1)

    assert in_redis(running.client) == {}
    await copy.close()
