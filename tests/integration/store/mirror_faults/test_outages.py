"""Outages of Redis beside cancelled saves and many changes: nothing is lost, and the mirror follows."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from supervisor.store.mirror import MirroredStore
from tests.integration.store.mirror_faults.outage import slowest_save_s
from tests.integration.store.mirrors import in_step, make_mirrored
from tests.integration.store.redis_server import RedisProcess
from tests.integration.store.test_redis_servers import begin


async def test_back_after_a_long_outage_with_thousands_of_changes(running: RedisProcess, store: MirroredStore) -> None:
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
    assert len(await in_step(store, running.client, within_s=20)) == 20 + 2500 + 200


async def test_a_team_starts_while_redis_is_away_and_redis_follows(running: RedisProcess, short_tmp: Path) -> None:
    await begin(short_tmp / "state.db")
    running.kill()
    store = make_mirrored(short_tmp / "state.db", running.url)
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
