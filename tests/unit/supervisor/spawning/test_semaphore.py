from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress

import pytest

from actors.errors import WrongStateError
from supervisor.spawning.admission import FairSemaphore


class Holder:
    """A task that holds a permit until it is let go."""

    def __init__(self, permits: FairSemaphore, order: list[str], name: str, *, caller: str | None = "") -> None:
        """``caller`` None: in the background."""
        self.go = asyncio.Event()
        hold = permits.hold_in_background() if caller is None else permits.hold(caller)
        self.task = asyncio.create_task(self._run(hold, order, name))

    async def _run(self, hold: AbstractAsyncContextManager[None], order: list[str], name: str) -> None:
        async with hold:
            order.append(name)
            await self.go.wait()

    async def finish(self) -> None:
        self.go.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_the_limit_hold_at_once_and_the_first_come_is_the_first_served() -> None:
    permits, order = FairSemaphore(2), list[str]()
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
    permits, order = FairSemaphore(1), list[str]()
    holders = [Holder(permits, order, name) for name in "abc"]
    await settle()
    permits.resize(3)
    await settle()
    assert order == ["a", "b", "c"]
    for holder in holders:
        await holder.finish()


async def test_who_stops_waiting_or_fails_frees_the_place() -> None:
    permits, order = FairSemaphore(1), list[str]()
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


async def test_who_stops_waiting_takes_nothing_from_who_came_after_it() -> None:
    permits, order = FairSemaphore(1), list[str]()
    first, waiter = (Holder(permits, order, name, caller="a") for name in ("first", "waiter"))
    await settle()
    # In one turn of the loop, in this order: the holder ends, others come, and who waited goes away.
    first.task.cancel()
    later, last = (Holder(permits, order, name, caller="a") for name in ("later", "last"))
    waiter.task.cancel()
    await settle()
    assert (order, permits.held, permits.waiting) == (["first", "later"], 1, 1)
    await later.finish()
    await settle()
    assert order == ["first", "later", "last"]
    await last.finish()
    assert permits.held == 0


async def test_callers_take_turns_however_much_one_of_them_asks_for() -> None:
    permits, order = FairSemaphore(1), list[str]()
    many = [Holder(permits, order, f"a{number}", caller="a") for number in range(4)]
    await settle()
    others = [Holder(permits, order, name, caller=name) for name in "bc"]
    for holder in (*many[:2], *others, *many[2:]):
        await settle()
        await holder.finish()
    assert order == ["a0", "a1", "b", "c", "a2", "a3"]
    assert (permits.held, permits.waiting) == (0, 0)


async def test_the_background_begins_when_nobody_else_waits_or_holds_and_leaves_one_free() -> None:
    permits, order = FairSemaphore(2), list[str]()
    urgent = Holder(permits, order, "urgent")
    patient = [Holder(permits, order, name, caller=None) for name in ("refill 1", "refill 2")]
    await settle()
    assert (order, permits.waiting) == (["urgent"], 0)
    await urgent.finish()
    await settle()
    assert order == ["urgent", "refill 1"]
    late = Holder(permits, order, "late")
    await settle()
    assert order == ["urgent", "refill 1", "late"]
    await patient[0].finish()
    await settle()
    assert permits.held == 1, "a refill does not begin beside a caller's work"
    await late.finish()
    await settle()
    assert order[-1] == "refill 2"
    await patient[1].finish()


async def test_with_a_limit_of_one_the_background_still_gets_its_turn() -> None:
    permits, order = FairSemaphore(1), list[str]()
    refill = Holder(permits, order, "refill", caller=None)
    await settle()
    assert order == ["refill"]
    await refill.finish()


async def test_permits_that_are_given_no_more_are_refused_to_who_waits_and_to_who_asks_later() -> None:
    permits = FairSemaphore(1)
    async with permits.hold("first"):
        waiting = [
            asyncio.create_task(_held(permits.hold("second"))),
            asyncio.create_task(_held(permits.hold_in_background())),
        ]
        await asyncio.sleep(0)
        permits.close("it ends")
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(each) for each in told] == ["it ends", "it ends"]
        with pytest.raises(WrongStateError, match="it ends"):
            await _held(permits.hold("third"))
        assert permits.held == 1
    assert permits.held == 0


async def _held(permit: AbstractAsyncContextManager[None]) -> None:
    async with permit:
        pass
