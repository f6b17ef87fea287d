"""A Redis that stalls, is too slow, cut off or garbled on its way: no save waits for it beyond its bound."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from supervisor.store.replicated import Replicated
from supervisor.store.replicator import RetrySchedule
from tests.integration.store.copies import copies_agree, crash, in_redis, make_replicated
from tests.integration.store.failover.outage import SAVE_BOUND_S, SLACK_S, slowest_save_s, warnings
from tests.integration.store.proxy import Proxy
from tests.integration.store.redis_server import RedisProcess


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
    store = make_replicated(short_tmp / "state.db", way.url, pace=RetrySchedule(pause_s=0.5))
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
