"""Redis fails in every way that it can: the team writes on, says so once, and nothing is lost in either copy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from supervisor.store.replicated import Replicated
from supervisor.store.replicator import Pace
from tests.integration.store.copies import KEYS, copies_agree, crash, in_redis, make_replicated, until
from tests.integration.store.proxy import Proxy, proxy
from tests.integration.store.redis_server import RedisProcess, server

SAVE_BOUND_S = 0.5
SLACK_S = 0.4
"""For the file and for a busy machine."""


@pytest.fixture
def running(short_tmp: Path) -> Iterator[RedisProcess]:
    with server(short_tmp / "redis") as process:
        yield process


@pytest_asyncio.fixture
async def store(running: RedisProcess, short_tmp: Path) -> AsyncIterator[Replicated]:
    made = make_replicated(short_tmp / "state.db", running.url)
    await made.open()
    await made.save({f"old/{number}": b"before" for number in range(20)})
    yield made
    await made.close()


@pytest_asyncio.fixture
async def way(running: RedisProcess) -> AsyncIterator[Proxy]:
    async with proxy(running.port) as made:
        yield made


@pytest_asyncio.fixture
async def far_store(way: Proxy, short_tmp: Path) -> AsyncIterator[Replicated]:
    """Reaches Redis through the proxy."""
    made = make_replicated(short_tmp / "state.db", way.url)
    await made.open()
    await made.save({f"old/{number}": b"before" for number in range(20)})
    yield made
    await made.close()


async def slowest_save_s(store: Replicated, count: int = 20) -> float:
    """Of ``count`` saves one after another, which also delete."""
    slowest = 0.0
    for number in range(count):
        begun = time.monotonic()
        await store.save({f"new/{number}": b"x" * 500, "last": str(number).encode()}, [f"old/{number}"])
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_refused_and_back_with_its_data(
    running: RedisProcess, store: Replicated, caplog: pytest.LogCaptureFixture
) -> None:
    running.kill()

    assert await slowest_save_s(store) < SAVE_BOUND_S
    assert "refuses connections" in store.health.warning

    running.start()
    held = await copies_agree(store, running.client)
    assert held["last"] == b"19"
    assert not any(key.startswith("old/") for key in held)
    said = warnings(caplog)
    assert len(said) == 2
    assert "refuses connections" in said[0]
    assert "up to date again" in said[1]


async def test_restarted_empty(running: RedisProcess, store: Replicated) -> None:
    await store.save({}, ["old/1"])
    running.kill()
    running.forget()
    await slowest_save_s(store, 3)
    running.start()

    assert len(await copies_agree(store, running.client)) == 20 - 3 + 3 + 1


async def test_emptied_while_nobody_writes(running: RedisProcess, store: Replicated) -> None:
    running.client.flushall()

    await until(lambda: in_redis(running.client) != {})

    assert len(await copies_agree(store, running.client)) == 20


async def test_gone_back_to_older_data(running: RedisProcess, store: Replicated) -> None:
    client = running.client
    older = {key: client.dump(key) for key in (KEYS.meta, KEYS.records)}
    await slowest_save_s(store)
    await asyncio.sleep(0.5)  # long enough for deletions to be forgotten in the file
    for key, content in older.items():
        client.restore(key, 0, content, replace=True)

    await store.save({"after": b"1"})

    held = await copies_agree(store, client)
    assert held["after"] == b"1"
    assert "old/1" not in held


async def test_stalled_for_a_while(running: RedisProcess, store: Replicated) -> None:
    running.pause()
    try:
        assert await slowest_save_s(store) < SAVE_BOUND_S + SLACK_S
        assert "does not answer in time" in store.health.warning
        begun = time.monotonic()
        await store.save({"meanwhile": b"1"})
        assert time.monotonic() - begun < SLACK_S
    finally:
        running.resume()

    assert (await copies_agree(store, running.client, within_s=20))["meanwhile"] == b"1"


async def test_concurrent_saves_wait_no_longer_than_one(running: RedisProcess, store: Replicated) -> None:
    running.pause()
    try:
        begun = time.monotonic()
        await asyncio.gather(*(store.save({f"new/{number}": b"x"}) for number in range(200)))
        assert time.monotonic() - begun < SAVE_BOUND_S + SLACK_S
    finally:
        running.resume()

    assert len(await copies_agree(store, running.client, within_s=20)) == 220


async def test_full(running: RedisProcess, store: Replicated) -> None:
    client = running.client
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    assert "is full" in store.health.warning
    assert set(in_redis(client)) == {f"old/{number}" for number in range(20)}

    client.config_set("maxmemory", "0")
    assert (await copies_agree(store, client))["last"] == b"19"


async def test_a_read_only_replica(running: RedisProcess, store: Replicated, short_tmp: Path) -> None:
    with server(short_tmp / "master") as master:
        running.client.execute_command("REPLICAOF", "127.0.0.1", master.port)

        assert await slowest_save_s(store) < SAVE_BOUND_S
        assert "is a read-only replica" in store.health.warning

        running.client.execute_command("REPLICAOF", "NO", "ONE")
        assert (await copies_agree(store, running.client))["last"] == b"19"


async def test_too_few_replicas(running: RedisProcess, store: Replicated) -> None:
    running.client.config_set("min-replicas-to-write", "1")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    assert "too few replicas" in store.health.warning

    running.client.config_set("min-replicas-to-write", "0")
    assert (await copies_agree(store, running.client))["last"] == b"19"


async def test_a_password_that_was_changed(running: RedisProcess, store: Replicated) -> None:
    client = running.client
    client.config_set("requirepass", "new")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    await slowest_save_s(store)
    assert "asks for a password" in store.health.warning

    client.config_set("requirepass", "")
    assert (await copies_agree(store, client))["last"] == b"19"


async def test_a_server_that_breaks_in_the_middle_of_a_script_is_given_a_whole_copy(
    running: RedisProcess, store: Replicated
) -> None:
    client = running.client
    client.delete(KEYS.records)
    client.set(KEYS.records, "of another type")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    assert store.health.warning

    client.delete(KEYS.records)
    assert (await copies_agree(store, client))["last"] == b"19"


async def test_cut_in_the_middle_of_a_command(running: RedisProcess, way: Proxy, far_store: Replicated) -> None:
    for left in (0, 1, 30, 150, 400, 1000):
        way.faults.cut_after_bytes = left
        await slowest_save_s(far_store)
        way.faults.cut_after_bytes = None
        assert (await copies_agree(far_store, running.client))["last"] == b"19"


async def test_a_write_that_arrives_after_its_time_does_no_harm(
    running: RedisProcess, way: Proxy, far_store: Replicated
) -> None:
    way.faults.delay_s = 1.5
    await far_store.save({"shared": b"late"})
    assert "does not answer in time" in far_store.health.warning
    way.faults.delay_s = 0.0
    await far_store.save({"shared": b"newer"}, ["old/1"])
    await copies_agree(far_store, running.client)
    await asyncio.sleep(2.0)

    assert (await copies_agree(far_store, running.client))["shared"] == b"newer"


async def test_slow_but_within_the_bound_is_waited_for(
    running: RedisProcess, way: Proxy, far_store: Replicated
) -> None:
    way.faults.delay_s = 0.2

    await far_store.save({"a": b"1"})

    assert in_redis(running.client)["a"] == b"1"
    assert far_store.health.warning == ""


@pytest.mark.parametrize("direction", ["garbled_to_server", "garbled_to_client"])
async def test_garbled(running: RedisProcess, way: Proxy, far_store: Replicated, direction: str) -> None:
    setattr(way.faults, direction, 0.3)
    slowest = 0.0
    for _ in range(6):
        slowest = max(slowest, await slowest_save_s(far_store))
        await asyncio.sleep(0.1)
    setattr(way.faults, direction, 0.0)

    assert way.garbled > 3
    assert slowest < SAVE_BOUND_S + SLACK_S
    assert (await copies_agree(far_store, running.client, within_s=20))["last"] == b"19"


async def test_back_after_a_long_outage_with_thousands_of_changes(running: RedisProcess, store: Replicated) -> None:
    running.kill()
    for round_ in range(10):
        names = [f"message/{round_}/{number}" for number in range(500)]
        await asyncio.gather(*(store.save({name: b"x" * 1000}) for name in names))
        await store.save({}, names[::2])
    running.start()

    async def write_on() -> None:
        for number in range(200):
            await store.save({f"meanwhile/{number}": b"y"})

    await write_on()
    assert len(await copies_agree(store, running.client, within_s=20)) == 20 + 2500 + 200


async def test_a_supervisor_that_crashed_while_redis_was_behind(
    running: RedisProcess, store: Replicated, short_tmp: Path
) -> None:
    running.kill()
    await slowest_save_s(store)
    held = await store.load("")
    await crash(store)
    running.start()

    second = make_replicated(short_tmp / "state.db", running.url)
    await second.open()

    assert await second.load("") == held
    assert await copies_agree(second, running.client) == held
    await second.close()


async def test_a_team_starts_while_redis_is_away_and_redis_follows(running: RedisProcess, short_tmp: Path) -> None:
    running.kill()
    store = make_replicated(short_tmp / "state.db", running.url)
    await store.open()
    await slowest_save_s(store)
    assert "refuses connections" in store.health.warning

    running.start()
    assert (await copies_agree(store, running.client))["last"] == b"19"
    await store.close()


async def test_killed_again_and_again_while_many_write(running: RedisProcess, store: Replicated) -> None:
    accepted: dict[str, bytes] = {}
    stop = asyncio.Event()

    async def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value = str(number).encode() * 20
            await store.save({f"log/{worker}/{number}": value, f"last/{worker}": value})
            accepted.update({f"log/{worker}/{number}": value, f"last/{worker}": value})
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

    held = await copies_agree(store, running.client)
    assert {key: held.get(key) for key in accepted} == accepted


async def test_saves_that_are_given_up_leave_no_gap(running: RedisProcess, store: Replicated) -> None:
    for _ in range(20):
        saves = [asyncio.create_task(store.save({f"cancelled/{number}": b"x"})) for number in range(20)]
        await asyncio.sleep(0.002)
        for save in saves:
            save.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*saves, return_exceptions=True)

    await copies_agree(store, running.client)
    assert store.health.warning == ""


async def test_a_team_starts_soon_with_its_file_while_redis_is_stalled(
    running: RedisProcess, store: Replicated, short_tmp: Path
) -> None:
    await crash(store)
    running.pause()
    try:
        second = make_replicated(short_tmp / "state.db", running.url)
        begun = time.monotonic()
        await second.open()
        assert time.monotonic() - begun < 10
        await slowest_save_s(second)
        assert "does not answer in time" in second.health.warning
    finally:
        running.resume()
    assert (await copies_agree(second, running.client, within_s=20))["last"] == b"19"
    await second.close()


async def test_a_redis_that_is_too_slow_now_and_then_is_not_complained_of_without_end(
    running: RedisProcess, way: Proxy, short_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_replicated(short_tmp / "state.db", way.url, pace=Pace(pause_s=0.5))
    await store.open()
    way.faults.delay_s = 0.3
    deadline = time.monotonic() + 6
    number = 0

    async def write() -> None:
        nonlocal number
        while time.monotonic() < deadline:
            number += 1
            await store.save({f"new/{number}": b"x"})
            await asyncio.sleep(0.05)

    await asyncio.gather(*(write() for _ in range(5)))
    way.faults.delay_s = 0.0

    assert len(warnings(caplog)) < 16
    await copies_agree(store, running.client, within_s=20)
    await store.close()
