from __future__ import annotations

import asyncio
from contextlib import suppress

from supervisor.permits import Permits


class Holder:
    """A task that holds a permit until it is let go."""

    def __init__(self, permits: Permits, order: list[str], name: str) -> None:
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._run(permits, order, name))

    async def _run(self, permits: Permits, order: list[str], name: str) -> None:
        async with permits.hold():
            order.append(name)
            await self.go.wait()

    async def finish(self) -> None:
        self.go.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_the_limit_hold_at_once_and_the_first_come_is_the_first_served() -> None:
    permits, order = Permits(2), list[str]()
    holders = [Holder(permits, order, name) for name in "abcd"]
    await settle()
    assert (order, permits.held, permits.waiting) == (["a", "b"], 2, 2)
    await holders[1].finish()
    await settle()
    assert order == ["a", "b", "c"]
    for holder in holders:
        await holder.finish()
    assert (order, permits.held, permits.most_held) == (["a", "b", "c", "d"], 0, 2)


async def test_a_larger_limit_admits_those_who_wait_at_once() -> None:
    permits, order = Permits(1), list[str]()
    holders = [Holder(permits, order, name) for name in "abc"]
    await settle()
    permits.resize(3)
    await settle()
    assert order == ["a", "b", "c"]
    for holder in holders:
        await holder.finish()


async def test_who_stops_waiting_or_fails_frees_the_place() -> None:
    permits, order = Permits(1), list[str]()
    holder, waiter, last = (Holder(permits, order, name) for name in "abc")
    await settle()
    waiter.task.cancel()
    with suppress(asyncio.CancelledError):
        await waiter.task
    holder.task.cancel()
    with suppress(asyncio.CancelledError):
        await holder.task
    await settle()
    assert order == ["a", "c"]
    await last.finish()
    assert permits.held == 0
