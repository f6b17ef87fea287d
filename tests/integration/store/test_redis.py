"""The copy in Redis: what is there after a save, and what becomes of one that is damaged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.errors import StoreError
from supervisor.store.lineage import Position
from supervisor.store.redis import CopyFencedError, CopyMovedError, RedisCopy, StagedPart, Writer
from supervisor.store.redis_client import RedisServer, connect
from tests.integration.store.copies import KEYS, TEAM, copies_agree, in_redis, make_replicated, until
from tests.integration.store.redis_server import RedisProcess


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
