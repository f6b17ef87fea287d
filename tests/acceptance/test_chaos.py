"""A working team and kill -9 for everything but the agents: nothing is lost, doubled, approved, or sent for a person.

Once twenty agents and some spare ones, two clients, two thousand messages, two people at terminals; once twelve agents
that lead each other by their own tools.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.plan import AIMS_IN_A_TREE, TARGETS_IN_A_TREE, Target, plan_kills
from tests.chaos.play import RoundPlan, play
from tests.chaos.tree import TREE

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
SEED = 3
KILLS = 15
_OF_THE_OTHER_ROUND = frozenset({Target.BRING_UP, Target.RAY_STARTING, Target.ENTRY})
_TREE_TARGETS = [target for target in TARGETS_IN_A_TREE if target not in _OF_THE_OTHER_ROUND]
_LONGEST_PAUSE_S = 3.0


async def test_a_team_under_fire_and_peoples_hands_loses_nothing_doubles_nothing_and_comes_back_by_itself(
    tmp_path: Path,
) -> None:
    kills = plan_kills(SEED, KILLS, longest_pause_s=_LONGEST_PAUSE_S)
    plan = RoundPlan(seed=SEED, kills=kills, output=tmp_path / "chaos", spares=4, people=2, limit_s=60)
    print(f"chaos: seed {SEED}; what happened is kept in {plan.output}")
    outcome = await play(plan)
    assert not outcome.problems, str(outcome)


async def test_a_team_that_leads_itself_under_fire_does_each_call_once_and_tells_each_lead_once(tmp_path: Path) -> None:
    kills = plan_kills(SEED, len(_TREE_TARGETS), _TREE_TARGETS, longest_pause_s=_LONGEST_PAUSE_S, aims=AIMS_IN_A_TREE)
    plan = RoundPlan(seed=SEED, kills=kills, output=tmp_path / "chaos", tree=TREE, messages=120, limit_s=60)
    print(f"chaos: seed {SEED}; what happened is kept in {plan.output}")
    outcome = await play(plan)
    assert not outcome.problems, str(outcome)
    assert Target.ENDPOINT in {kill.target for kill in outcome.ledger.kills if kill.found}
    assert any(kill.calling for kill in outcome.ledger.kills), "no kill met a call of an instance"
    assert outcome.errands.words
    assert outcome.errands.hands
