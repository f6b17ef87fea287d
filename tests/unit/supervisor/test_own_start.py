from __future__ import annotations

import asyncio

import pytest

from actors.backoff import Backoff
from actors.errors import FencedError, SettingsError, UnavailableError
from supervisor.startup import StartupRetrier

AT_ONCE = Backoff(0.0, 0.0)


class Attempts:
    """Fails as often as told, each time with the next of ``errors``."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0
        self.under_way = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> None:
        self.made += 1
        self.under_way += 1
        assert self.under_way == 1
        await self.go_on.wait()
        self.under_way -= 1
        if self.errors:
            raise self.errors.pop(0)

    async def until(self, made: int) -> None:
        async with asyncio.timeout(5):
            while self.made < made or self.under_way:  # noqa: ASYNC110 - turns of the loop are what it counts
                await asyncio.sleep(0)


def away() -> UnavailableError:
    return UnavailableError("The host actor is not running just now.")


async def test_a_start_is_made_without_anybody_waiting_for_it() -> None:
    attempts = Attempts()
    StartupRetrier(attempts).begin()

    await attempts.until(1)


async def test_a_failed_start_is_made_again_until_it_works() -> None:
    attempts = Attempts(away(), LookupError("an error of ours"), away())
    start = StartupRetrier(attempts, AT_ONCE, tries=4)
    start.begin()

    await attempts.until(4)
    await start.done()
    assert attempts.made == 4


async def test_attempts_have_an_end() -> None:
    attempts = Attempts(*(away() for _ in range(10)))
    start = StartupRetrier(attempts, AT_ONCE, tries=3)
    start.begin()

    await attempts.until(3)
    for _ in range(5):
        await asyncio.sleep(0)
    assert attempts.made == 3


@pytest.mark.parametrize("error", [FencedError("fenced"), SettingsError("wrong")])
async def test_what_needs_a_person_is_not_tried_again_unasked_but_told_and_tried_when_asked(error: Exception) -> None:
    attempts = Attempts(error, error)
    start = StartupRetrier(attempts, AT_ONCE, tries=3)
    start.begin()
    await attempts.until(1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert attempts.made == 1

    with pytest.raises(type(error)):
        await start.done()
    await start.done()

    assert attempts.made == 3


async def test_who_asks_shares_the_attempt_under_way_and_its_reason() -> None:
    attempts = Attempts(away())
    attempts.go_on.clear()
    start = StartupRetrier(attempts, Backoff(60.0, 60.0), tries=2)
    start.begin()
    asking = [asyncio.create_task(start.done()) for _ in range(3)]
    await asyncio.sleep(0)
    attempts.go_on.set()

    outcomes = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    assert attempts.made == 1


async def test_who_asks_during_a_pause_does_not_wait_for_its_end() -> None:
    attempts = Attempts(away())
    start = StartupRetrier(attempts, Backoff(60.0, 60.0), tries=2)
    start.begin()
    await attempts.until(1)
    await asyncio.sleep(0)

    await asyncio.wait_for(start.done(), 1)

    assert attempts.made == 2


async def test_who_goes_away_does_not_disturb_the_start() -> None:
    attempts = Attempts()
    attempts.go_on.clear()
    start = StartupRetrier(attempts)
    start.begin()
    asking = asyncio.create_task(start.done())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.sleep(0)
    attempts.go_on.set()

    await start.done()

    assert attempts.made == 1
