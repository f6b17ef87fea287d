"""Twenty agents and some spare ones, two clients, two thousand messages, two people at terminals, and kill -9 for
everything but the agents: nothing is lost, doubled, approved, or sent for a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.plan import plan_kills
from tests.chaos.play import RoundPlan, play

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
SEED = 3
KILLS = 15
_LONGEST_PAUSE_S = 3.0


async def test_a_team_under_fire_and_peoples_hands_loses_nothing_doubles_nothing_and_comes_back_by_itself(
    tmp_path: Path,
) -> None:
    kills = plan_kills(SEED, KILLS, longest_pause_s=_LONGEST_PAUSE_S)
    plan = RoundPlan(seed=SEED, kills=kills, output=tmp_path / "chaos", spares=4, people=2, limit_s=60)
    print(f"chaos: seed {SEED}; what happened is kept in {plan.output}")
    outcome = await play(plan)
    assert not outcome.problems, str(outcome)
