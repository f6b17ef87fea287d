"""After an undo has withdrawn a spawn, nothing is made for it, whenever the call for it was made."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import UnavailableError, WrongStateError
from actors.starts import Starts
from tests.fakes.clock import turns


class Slowly:
    """Makes something once ``go_on`` is set, or fails with ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.made = 0
        self.go_on = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        await self.go_on.wait()
        if self._error is not None:
            raise self._error
        self.made += 1
        return "made"


async def test_what_is_made_is_returned_and_its_error_is_raised() -> None:
    starts, good, bad = Starts(), Slowly(), Slowly(LookupError("no"))
    good.go_on.set()
    bad.go_on.set()

    assert await starts.make("spec_1", good) == "made"
    with pytest.raises(LookupError):
        await starts.make("spec_1", bad)


@pytest.mark.parametrize("error", [None, LookupError("no")])
async def test_who_withdraws_waits_for_what_is_made_though_its_caller_is_gone(error: Exception | None) -> None:
    starts, making = Starts(), Slowly(error)
    caller = asyncio.create_task(starts.make("spec_1", making))
    await turns()
    caller.cancel()
    withdrawing = asyncio.create_task(starts.withdraw("spec_1", 20.0))
    await asyncio.sleep(10.0)
    assert caller.cancelled()
    assert not withdrawing.done()

    making.go_on.set()
    await withdrawing

    assert making.made == (0 if error else 1)


async def test_who_withdraws_hears_that_something_takes_long_and_may_ask_again() -> None:
    starts, making = Starts(), Slowly()
    caller = asyncio.create_task(starts.make("spec_1", making))
    await turns()
    with pytest.raises(UnavailableError, match="spec_1"):
        await starts.withdraw("spec_1", 20.0)
    making.go_on.set()
    await caller

    await starts.withdraw("spec_1", 20.0)


async def test_a_call_that_comes_after_the_withdrawal_makes_nothing_and_others_do() -> None:
    starts, making = Starts(), Slowly()
    making.go_on.set()
    await starts.withdraw("spec_1", 20.0)

    with pytest.raises(WrongStateError, match="spec_1 was undone"):
        await starts.make("spec_1", making)
    with pytest.raises(WrongStateError, match="spec_1 was undone"):
        starts.check("spec_1")

    assert making.made == 0
    assert await starts.make("spec_2", making) == "made"
