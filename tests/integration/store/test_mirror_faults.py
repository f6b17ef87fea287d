"""A Redis that refuses, forgets, stalls or is cut off: no save waits for it, it is said once and followed up later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from supervisor.store.mirror import MirroredStore
from tests.integration.store.conftest import write_without_mirror
from tests.integration.store.mirrors import KEYS, in_redis, in_step, make_mirrored, until
from tests.integration.store.proxy import Proxy, proxy
from tests.integration.store.redis_server import RedisProcess, server

SAVE_BOUND_S = 1.0
"""For the file, on a busy machine: Redis is not waited for."""


async def with_twenty(path: Path, url: str, running: RedisProcess) -> MirroredStore:
    """An open store; file and Redis have twenty records."""
    made = make_mirrored(path, url)
    await made.open()
    await made.save({f"old/{number}": b"before" for number in range(20)})
    await in_step(made, running.client)
    return made


@pytest_asyncio.fixture
async def store(running: RedisProcess, path: Path) -> AsyncIterator[MirroredStore]:
    made = await with_twenty(path, running.url, running)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def behind_proxy(running: RedisProcess, path: Path) -> AsyncIterator[tuple[MirroredStore, Proxy]]:
    async with proxy(running.port) as (link, url):
        made = await with_twenty(path, url, running)
        yield made, link
        await made.close()


async def slowest_save_s(store: MirroredStore, count: int = 20) -> float:
    """Of ``count`` saves one after another, which also delete."""
    slowest = 0.0
    for number in range(count):
        begun = time.monotonic()
        await store.save({f"new/{number}": b"x" * 500, "last": str(number).encode()}, [f"old/{number}"])
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


async def test_refused_and_back_with_its_data(
    running: RedisProcess, store: MirroredStore, caplog: pytest.LogCaptureFixture
) -> None:
    running.kill()

    assert await slowest_save_s(store) < SAVE_BOUND_S
    await until(lambda: "refuses connections" in store.health.warning)
    assert "Redis lacks the last 20 writes, since" in store.health.warning

    running.start()
    held = await in_step(store, running.client)
    assert held["last"] == b"19"
    assert not any(key.startswith("old/") for key in held)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 2
    assert any(words in said[0] for words in ("refuses connections", "has closed the connection"))
    assert "up to date again" in said[1]


async def test_restarted_empty(running: RedisProcess, store: MirroredStore) -> None:
    await store.save({}, ["old/1"])
    running.kill()
    running.forget()
    await slowest_save_s(store, 3)
    running.start()

    assert len(await in_step(store, running.client)) == 20 - 3 + 3 + 1


async def test_emptied_while_nobody_writes(running: RedisProcess, store: MirroredStore) -> None:
    running.client.flushall()

    await until(lambda: in_redis(running.client) != {})

    assert len(await in_step(store, running.client)) == 20


async def test_gone_back_to_older_data(running: RedisProcess, store: MirroredStore) -> None:
    client = running.client
    older = {key: client.dump(key) for key in (KEYS.meta, KEYS.records)}
    await slowest_save_s(store)
    await in_step(store, client)
    for key, content in older.items():
        client.restore(key, 0, content, replace=True)

    await store.save({"after": b"1"})

    held = await in_step(store, client)
    assert held["after"] == b"1"
    assert "old/1" not in held


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("maxmemory", "1", "is full"),
        ("min-replicas-to-write", "1", "too few replicas"),
        ("requirepass", "new", "asks for a password"),
    ],
)
async def test_what_hinders_it_is_said_and_it_follows_when_that_is_over(
    running: RedisProcess, store: MirroredStore, option: str, value: str, words: str
) -> None:
    client = running.client
    before = client.config_get(option)[option]
    client.config_set(option, value)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    await until(lambda: words in store.health.warning)
    assert set(in_redis(client)) == {f"old/{number}" for number in range(20)}

    client.config_set(option, before)
    assert (await in_step(store, client))["last"] == b"19"


async def test_a_server_that_breaks_in_the_middle_of_a_script_is_given_a_whole_copy(
    running: RedisProcess, store: MirroredStore
) -> None:
    client = running.client
    client.delete(KEYS.records)
    client.set(KEYS.records, "of another type")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    await until(lambda: bool(store.health.warning))

    client.delete(KEYS.records)
    assert (await in_step(store, client))["last"] == b"19"


async def test_a_read_only_replica(running: RedisProcess, store: MirroredStore, short_tmp: Path) -> None:
    with server(short_tmp / "master") as master:
        running.client.execute_command("REPLICAOF", "127.0.0.1", master.port)

        assert await slowest_save_s(store) < SAVE_BOUND_S
        await until(lambda: "is a read-only replica" in store.health.warning)

        running.client.execute_command("REPLICAOF", "NO", "ONE")
        assert (await in_step(store, running.client))["last"] == b"19"


async def test_back_after_a_long_outage_with_thousands_of_changes(running: RedisProcess, store: MirroredStore) -> None:
    running.kill()
    for round_ in range(10):
        names = [f"message/{round_}/{number}" for number in range(500)]
        await asyncio.gather(*(store.save({name: b"x" * 1000}) for name in names))
        await store.save({}, names[::2])
    running.start()
    for number in range(200):
        await store.save({f"meanwhile/{number}": b"y"})

    assert len(await in_step(store, running.client, within_s=20)) == 20 + 2500 + 200


async def test_a_team_starts_while_redis_is_away_and_redis_follows(running: RedisProcess, path: Path) -> None:
    await write_without_mirror(path)
    running.kill()
    store = make_mirrored(path, running.url)
    await store.open()
    await slowest_save_s(store)
    assert "refuses connections" in store.health.warning
    assert "how much of it Redis has is not known, since" in store.health.warning

    running.start()
    assert (await in_step(store, running.client))["last"] == b"19"
    await store.close()


async def test_killed_again_and_again_while_many_write(running: RedisProcess, store: MirroredStore) -> None:
    accepted: dict[str, bytes] = {}
    stop = asyncio.Event()

    async def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value = str(number).encode() * 20
            records = {f"log/{worker}/{number}": value, f"last/{worker}": value}
            await store.save(records)
            accepted.update(records)
            await asyncio.sleep(0.002)

    writers = [asyncio.create_task(write(worker)) for worker in range(5)]
    for round_ in range(6):
        await asyncio.sleep(0.15)
        await asyncio.to_thread(running.kill)
        if round_ % 2:
            running.forget()
        await asyncio.sleep(0.1)
        await asyncio.to_thread(running.start)
    stop.set()
    await asyncio.gather(*writers)

    held = await in_step(store, running.client)
    assert {key: held.get(key) for key in accepted} == accepted


async def test_saves_that_are_given_up_leave_no_gap(running: RedisProcess, store: MirroredStore) -> None:
    for _ in range(20):
        saves = [asyncio.create_task(store.save({f"cancelled/{number}": b"x"})) for number in range(20)]
        await asyncio.sleep(0.002)
        for save in saves:
            save.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*saves, return_exceptions=True)

    await in_step(store, running.client)
    assert store.health.warning == ""


async def test_stalled_for_a_while_is_told_with_how_far_it_lags(
    running: RedisProcess, store: MirroredStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.store.mirror._WARN_AFTER_S", 0.3)
    with running.paused():
        begun = time.monotonic()
        await asyncio.gather(*(store.save({f"at once/{number}": b"x"}) for number in range(200)))
        assert time.monotonic() - begun < SAVE_BOUND_S
        assert await slowest_save_s(store) < SAVE_BOUND_S
        await until(lambda: "does not keep pace" in store.health.warning)
        assert "Redis lacks the last 220 writes, since" in store.health.warning
        await until(lambda: "does not answer in time" in store.health.warning)

    assert (await in_step(store, running.client, within_s=20))["last"] == b"19"


async def test_a_team_starts_soon_with_its_file_while_redis_is_stalled(
    running: RedisProcess, store: MirroredStore, path: Path
) -> None:
    await store.close()
    second = make_mirrored(path, running.url)
    with running.paused():
        begun = time.monotonic()
        await second.open()
        assert time.monotonic() - begun < 5
        assert "does not answer in time" in second.health.warning
        await slowest_save_s(second)
    assert (await in_step(second, running.client, within_s=20))["last"] == b"19"
    await second.close()


async def test_cut_in_the_middle_of_a_command(running: RedisProcess, behind_proxy: tuple[MirroredStore, Proxy]) -> None:
    store, link = behind_proxy
    for left in (0, 1, 30, 150, 400, 1000):
        link.cut_after_bytes = left
        await slowest_save_s(store)
        link.cut_after_bytes = None
        assert (await in_step(store, running.client))["last"] == b"19"


async def test_a_write_that_arrives_after_its_time_does_no_harm(
    running: RedisProcess, behind_proxy: tuple[MirroredStore, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, link = behind_proxy
    monkeypatch.setattr("supervisor.store.mirror._ANSWER_S", 0.3)
    link.delay_s = 1.5
    await store.save({"shared": b"late"})
    await until(lambda: "does not answer in time" in store.health.warning)
    link.delay_s = 0.0
    await store.save({"shared": b"newer"}, ["old/1"])
    await in_step(store, running.client)
    await asyncio.sleep(2.0)  # until what was delayed has arrived

    assert in_redis(running.client)["shared"] == b"newer"
    assert (await in_step(store, running.client))["shared"] == b"newer"


async def test_slow_but_in_time_is_not_complained_of(
    running: RedisProcess, behind_proxy: tuple[MirroredStore, Proxy]
) -> None:
    store, link = behind_proxy
    link.delay_s = 0.2

    await slowest_save_s(store)

    assert store.health.warning == ""
    assert (await in_step(store, running.client))["last"] == b"19"
