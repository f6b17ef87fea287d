"""A Redis that refuses, or has lost what it was given: the team writes on, says so once, and Redis follows later."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.store.mirror import MirroredStore
from tests.integration.store.mirror_faults.outage import SAVE_BOUND_S, slowest_save_s, warnings
from tests.integration.store.mirrors import KEYS, in_redis, in_step, until
from tests.integration.store.redis_server import RedisProcess, server


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
    said = warnings(caplog)
    assert len(said) == 2
    assert "refuses connections" in said[0]
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


async def test_full(running: RedisProcess, store: MirroredStore) -> None:
    client = running.client
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    await until(lambda: "is full" in store.health.warning)
    assert set(in_redis(client)) == {f"old/{number}" for number in range(20)}

    client.config_set("maxmemory", "0")
    assert (await in_step(store, client))["last"] == b"19"


async def test_a_read_only_replica(running: RedisProcess, store: MirroredStore, short_tmp: Path) -> None:
    with server(short_tmp / "master") as master:
        running.client.execute_command("REPLICAOF", "127.0.0.1", master.port)

        assert await slowest_save_s(store) < SAVE_BOUND_S
        await until(lambda: "is a read-only replica" in store.health.warning)

        running.client.execute_command("REPLICAOF", "NO", "ONE")
        assert (await in_step(store, running.client))["last"] == b"19"


async def test_too_few_replicas(running: RedisProcess, store: MirroredStore) -> None:
    running.client.config_set("min-replicas-to-write", "1")

    assert await slowest_save_s(store) < SAVE_BOUND_S
    await until(lambda: "too few replicas" in store.health.warning)

    running.client.config_set("min-replicas-to-write", "0")
    assert (await in_step(store, running.client))["last"] == b"19"


async def test_a_password_that_was_changed(running: RedisProcess, store: MirroredStore) -> None:
    client = running.client
    client.config_set("requirepass", "new")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    await slowest_save_s(store)
    await until(lambda: "asks for a password" in store.health.warning)

    client.config_set("requirepass", "")
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
