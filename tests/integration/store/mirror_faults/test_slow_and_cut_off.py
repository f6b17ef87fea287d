"""A Redis that stalls, is too slow, or is cut off on its way: no save waits for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from supervisor.store.mirror import MirroredStore
from tests.integration.store.mirror_faults.outage import SAVE_BOUND_S, slowest_save_s
from tests.integration.store.mirrors import in_redis, in_step, make_mirrored, until
from tests.integration.store.proxy import Proxy
from tests.integration.store.redis_server import RedisProcess


async def test_stalled_for_a_while_is_told_with_how_far_it_lags(
    running: RedisProcess, store: MirroredStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.store.mirror._WARN_AFTER_S", 0.3)
    running.pause()
    try:
        assert await slowest_save_s(store) < SAVE_BOUND_S
        await until(lambda: "does not keep pace" in store.health.warning)
        assert "Redis lacks the last 20 writes, since" in store.health.warning
        await until(lambda: "does not answer in time" in store.health.warning)
    finally:
        running.resume()

    assert (await in_step(store, running.client, within_s=20))["last"] == b"19"


async def test_many_saves_at_once_do_not_wait_for_a_stalled_redis(running: RedisProcess, store: MirroredStore) -> None:
    running.pause()
    try:
        begun = time.monotonic()
        await asyncio.gather(*(store.save({f"new/{number}": b"x"}) for number in range(200)))
        assert time.monotonic() - begun < SAVE_BOUND_S
    finally:
        running.resume()

    assert len(await in_step(store, running.client, within_s=20)) == 220


async def test_cut_in_the_middle_of_a_command(running: RedisProcess, way: Proxy, far_store: MirroredStore) -> None:
    for left in (0, 1, 30, 150, 400, 1000):
        way.faults.cut_after_bytes = left
        await slowest_save_s(far_store)
        way.faults.cut_after_bytes = None
        assert (await in_step(far_store, running.client))["last"] == b"19"


async def test_a_write_that_arrives_after_its_time_does_no_harm(
    running: RedisProcess, way: Proxy, far_store: MirroredStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.store.mirror._ANSWER_S", 0.3)
    way.faults.delay_s = 1.5
    await far_store.save({"shared": b"late"})
    await until(lambda: "does not answer in time" in far_store.health.warning)
    way.faults.delay_s = 0.0
    await far_store.save({"shared": b"newer"}, ["old/1"])
    await in_step(far_store, running.client)
    await asyncio.sleep(2.0)  # until what was delayed has arrived

    assert in_redis(running.client)["shared"] == b"newer"
    assert (await in_step(far_store, running.client))["shared"] == b"newer"


async def test_slow_but_in_time_is_not_complained_of(
    running: RedisProcess, way: Proxy, far_store: MirroredStore
) -> None:
    way.faults.delay_s = 0.2

    await slowest_save_s(far_store)

    assert far_store.health.warning == ""
    assert (await in_step(far_store, running.client))["last"] == b"19"


async def test_a_team_starts_soon_with_its_file_while_redis_is_stalled(
    running: RedisProcess, store: MirroredStore, short_tmp: Path
) -> None:
    await store.close()
    running.pause()
    second = make_mirrored(short_tmp / "state.db", running.url)
    try:
        begun = time.monotonic()
        await second.open()
        assert time.monotonic() - begun < 5
        assert "does not answer in time" in second.health.warning
        await slowest_save_s(second)
    finally:
        running.resume()
    assert (await in_step(second, running.client, within_s=20))["last"] == b"19"
    await second.close()
