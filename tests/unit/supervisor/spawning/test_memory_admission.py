from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack

import pytest

from actors.errors import UnavailableError
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission
from tests.fakes.hosts import FakeHost, host_load


def machine_with(free_mb: int) -> FakeHost:
    host = FakeHost()
    host.load_now = host_load(free_mb)
    return host


def memory(machine: FakeHost) -> MemoryAdmission:
    return MemoryAdmission(machine, agent_mb=300, reserve_mb=500)


async def test_who_does_not_fit_waits_says_so_and_goes_on_once_there_is_memory() -> None:
    machine = machine_with(1400)
    where, told = memory(machine), list[str]()
    async with AsyncExitStack() as started:
        for _ in range(3):
            await started.enter_async_context(where.hold("claude"))
        late = asyncio.create_task(started.enter_async_context(where.hold("claude", told.append)))
        await asyncio.sleep(5)
        assert not late.done()
        assert "0 MB are free beside the reserve" in told[-1]
        assert where.warning.startswith("1 agent waits to be started")
        assert not await where.fits("demo")
        machine.available_mb += 300
        await late
        assert where.warning == ""


async def test_who_waits_is_served_in_order_and_a_small_one_does_not_overtake() -> None:
    machine, order = machine_with(500), list[str]()
    where = memory(machine)

    async def start(name: str, agent: str) -> None:
        async with where.hold(agent):
            order.append(name)

    starts = [asyncio.create_task(start("first", "claude")), asyncio.create_task(start("second", "demo"))]
    await asyncio.sleep(1)
    machine.available_mb = 700
    await asyncio.sleep(1)
    assert order == []
    machine.available_mb = 900
    await asyncio.gather(*starts)
    assert order == ["first", "second"]


async def test_what_is_only_kept_ready_is_given_up_for_who_waits() -> None:
    machine = machine_with(500)
    where = memory(machine)

    async def give_up() -> None:
        while True:
            assert await where.full_hosts() == {""}
            machine.available_mb += 150

    giving = asyncio.create_task(give_up())
    async with where.hold("claude"):
        assert machine.available_mb == 800
    giving.cancel()


async def test_who_finds_no_room_for_very_long_is_refused_in_words_and_holds_nothing() -> None:
    machine = machine_with(600)
    where = memory(machine)
    words = (
        "There was no memory for another agent for 90 s: 100 MB are free beside the reserve of 500 MB, and one "
        "needs up to 300 MB. Terminate instances whose work is done, then start it again. Or lower agent_memory_mb"
    )
    with pytest.raises(UnavailableError, match=re.escape(words)):
        async with where.hold("claude"):
            raise AssertionError("it did not fit")
    assert asyncio.get_running_loop().time() - 1000.0 < 100.0
    assert where.warning == ""
    machine.available_mb = 800
    assert await where.fits("claude")


async def refused_after(where: MemoryAdmission, agent: str = "claude") -> float:
    """Seconds."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    with pytest.raises(UnavailableError):
        async with where.hold(agent):
            raise AssertionError("it did not fit")
    return clock() - begun


async def test_a_batch_beyond_memory_is_refused_together_and_not_a_few_at_a_time() -> None:
    async def play() -> None:
        where, told = memory(machine_with(500)), list[str]()
        permits = FairSemaphore(5)

        async def start() -> float:
            async with permits.hold():
                return await refused_after(where)

        starts = [asyncio.create_task(start()) for _ in range(50)]
        watching = asyncio.create_task(where.hold("claude", told.append).__aenter__())
        await asyncio.sleep(1)
        assert where.warning.startswith("6 agents wait to be started until there is memory for them: 0 MB are free")
        assert told
        waited = await asyncio.gather(*starts)
        assert asyncio.get_running_loop().time() - 1000.0 < 100.0
        assert sorted(waited)[44] < 1.0
        with pytest.raises(UnavailableError):
            await watching

    await play()


async def test_as_long_as_some_are_started_the_others_go_on_waiting() -> None:
    machine = machine_with(500)
    where = memory(machine)
    async with AsyncExitStack() as started:
        starts = [asyncio.create_task(started.enter_async_context(where.hold("claude"))) for _ in range(4)]
        for _ in range(4):
            await asyncio.sleep(80)
            machine.available_mb += 300
        await asyncio.gather(*starts)


async def test_who_comes_later_or_after_one_that_went_away_waits_his_own_time() -> None:
    where = memory(machine_with(500))
    gone = asyncio.create_task(where.hold("claude").__aenter__())
    await asyncio.sleep(60)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await refused_after(where) > 89
    assert await refused_after(where) < 1
    await asyncio.sleep(10)
    assert await refused_after(where) > 89


async def test_on_another_host_only_its_slots_count_and_spares_there_give_way_one_after_the_other() -> None:
    left, asked, told = {"other": -2, "full": -1}, list[str](), list[str]()
    where = MemoryAdmission(machine_with(0), agent_mb=300, reserve_mb=500, slots_left=lambda host: left.get(host, 1))

    async def give_up() -> None:
        while True:
            for host in await where.full_hosts():
                asked.append(host)
                left[host] += host == "other"

    giving = asyncio.create_task(give_up())
    full = asyncio.create_task(where.hold("claude", told.append, "full").__aenter__())
    async with where.hold("claude", host="other"):
        assert asked.count("other") == 2
    async with where.hold("claude", host="third"):
        assert not full.done()
    assert told[-1].startswith("waits for room on full: each slot of this host is taken")
    left["full"] = 0
    await full
    giving.cancel()


async def test_who_takes_the_place_of_one_that_ends_for_it_need_not_wait_and_nobody_else_gets_that_place() -> None:
    machine = machine_with(500)
    where = memory(machine)
    async with where.hold("claude", replaces=True):
        machine.available_mb += 300  # the earlier one has ended
        assert not await where.fits("demo")
        machine.available_mb -= 300  # the next one has grown as large
    assert not await where.fits("demo")
    machine.available_mb += 60
    assert await where.fits("demo")
