"""Plays scenarios, several at once, and tells how each ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from actors.errors import PhalanxError
from tests.people import patient
from tests.scenarios.scenario import Outcome, Scenario, Skipped, Verdict
from tests.scenarios.stage import SCENE, Scene, Stage, clear_away, settle_accounts

_CLEAR_S = 60.0


async def play_all(stage: Stage, scenarios: Sequence[Scenario], at_once: int) -> AsyncIterator[Outcome]:
    """The outcomes as they come."""
    turnstile = asyncio.Semaphore(at_once)

    async def one(scenario: Scenario) -> Outcome:
        async with turnstile:
            return await play(stage, scenario)

    tasks = [asyncio.create_task(one(each)) for each in scenarios]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def play(stage: Stage, scenario: Scenario) -> Outcome:
    """One scenario with its accounts, in a task of its own; what it started is ended. Raises when it is cancelled."""
    began = time.monotonic()
    SCENE.set(Scene())
    verdict, words = Verdict.HELD, ""
    try:
        async with asyncio.timeout(patient(scenario.limit_s)):
            await scenario.play(stage)
            await settle_accounts()
    except Skipped as skipped:
        verdict, words = Verdict.SKIPPED, str(skipped)
    except AssertionError as failure:
        verdict, words = Verdict.FAILED, str(failure)
    except TimeoutError:
        verdict, words = Verdict.FAILED, f"it did not come to its end within {scenario.limit_s:.0f} s"
    except PhalanxError as error:
        verdict, words = Verdict.FAILED, f"refused: {error}"
    except Exception as error:  # noqa: BLE001 - a scenario that broke must not take the others along
        verdict, words = Verdict.FAILED, f"the scenario itself broke: {error!r}"
    took_s = time.monotonic() - began
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLEAR_S):
            await clear_away()
    return Outcome(scenario=scenario, verdict=verdict, words=words, took_s=took_s)
