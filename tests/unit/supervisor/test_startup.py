"""How a supervisor starts: again until it works, and never with an empty team in place of a lost one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.agents.base import RunningAgent
from actors.backoff import Backoff
from actors.errors import FencedError, SettingsError, StateLostError, UnavailableError
from actors.home import Home
from supervisor.startup import StartupRetrier, note_in_use, unless_lost

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


def host_with(*agents: RunningAgent) -> Any:
    async def found() -> tuple[RunningAgent, ...]:
        return agents

    return SimpleNamespace(agents=found)


def agent(name: str, *, alive: bool = True) -> RunningAgent:
    return RunningAgent(session_name=name, pane_id="%1", pid=7, alive=alive)


async def test_nothing_is_begun_beside_living_agents_and_the_words_say_what_to_do(tmp_path: Path) -> None:
    check = unless_lost(Home(tmp_path), host_with(agent("spec_0_0_1"), agent("exec_2"), agent("mgr_2_3")))
    with pytest.raises(
        StateLostError, match=r"/state.db is missing.*3 of its agents live \(spec_0_0_1.*phalanx restore"
    ):
        await check()


async def test_a_home_without_agents_may_begin(tmp_path: Path) -> None:
    await unless_lost(Home(tmp_path), host_with())()


async def test_who_has_ended_and_a_session_of_somebody_else_keep_nobody_from_beginning(tmp_path: Path) -> None:
    found = host_with(agent("spec_0_0_1", alive=False), agent("my-own_1"), agent("exec_"))
    await unless_lost(Home(tmp_path), found)()


async def test_a_home_that_had_a_state_may_not_begin_without_it_though_no_agent_lives_on_this_host(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    note_in_use(home)

    for _ in range(2):
        with pytest.raises(StateLostError, match=r"its team was not brought down.*phalanx down"):
            await unless_lost(home, host_with())()
