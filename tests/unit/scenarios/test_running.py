"""How scenarios are played and told, with a stage on which nothing stands."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from actors.errors import UnavailableError
from tests.scenarios import play_book
from tests.scenarios.running import play, play_all
from tests.scenarios.scenario import Outcome, Play, Scenario, Skipped, Verdict, expect
from tests.scenarios.stage import Stage, numbers

EMPTY = cast("Stage", None)


async def all_is_well(stage: Stage) -> None:
    """Nothing happens."""


async def something_is_wrong(stage: Stage) -> None:
    expect(condition=False, words="the cat is on the table")


async def it_does_not_apply(stage: Stage) -> None:
    raise Skipped("this version has no cat")


async def it_is_refused(stage: Stage) -> None:
    raise UnavailableError("come back tomorrow")


async def it_breaks(stage: Stage) -> None:
    raise ZeroDivisionError


async def it_never_ends(stage: Stage) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("scene", "verdict", "words"),
    [
        (all_is_well, Verdict.HELD, ""),
        (something_is_wrong, Verdict.FAILED, "the cat is on the table"),
        (it_does_not_apply, Verdict.SKIPPED, "this version has no cat"),
        (it_is_refused, Verdict.FAILED, "refused: come back tomorrow"),
        (it_breaks, Verdict.FAILED, "the scenario itself broke: ZeroDivisionError()"),
        (it_never_ends, Verdict.FAILED, "it did not come to its end within 0 s"),
    ],
)
async def test_every_end_of_a_scenario_has_its_verdict_and_words(scene: Play, verdict: Verdict, words: str) -> None:
    outcome = await play(EMPTY, Scenario(play=scene, limit_s=0.01))

    assert (outcome.verdict, outcome.words) == (verdict, words)


async def test_a_scenario_that_breaks_takes_no_other_along_and_all_outcomes_come() -> None:
    scenes = (it_breaks, all_is_well, something_is_wrong, all_is_well)
    scenarios = [Scenario(play=scene, limit_s=1) for scene in scenes]

    outcomes = [outcome async for outcome in play_all(EMPTY, scenarios, at_once=2)]

    assert sorted(each.verdict for each in outcomes) == ["failed", "failed", "held", "held"]


def test_an_outcome_is_told_in_plain_lines() -> None:
    scenario = Scenario(play=something_is_wrong, limit_s=1)

    told = str(Outcome(scenario=scenario, verdict=Verdict.FAILED, words="one\ntwo", took_s=2.4))

    assert told.splitlines() == ["failed  something is wrong (2 s)", "        one", "        two"]


def test_no_two_scenarios_share_a_name_and_each_is_a_sentence() -> None:
    names = [each.name for each in play_book.ALL]

    assert len(set(names)) == len(names)
    assert all(len(name.split("_")) >= 5 for name in names)
    assert {each.theme for each in play_book.ALL} == {
        module.__name__.rpartition(".")[2] for module in play_book.MODULES
    }


def test_versions_are_compared_by_their_numbers() -> None:
    assert numbers("2.1.99") < numbers("2.1.330") <= numbers("2.1.332 (Claude Code)")
