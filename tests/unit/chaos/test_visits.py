"""What people do in a round is repeatable from its seed, and what they type can answer nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import checks
from tests.chaos.arrivals import Arrival
from tests.chaos.plan import plan_letters
from tests.chaos.visits import AT_A_CLAUDE, AT_A_DEMO, DRAFT_MARK, Act, plan_visits
from tests.unit.chaos.doctored import IDS, ledger


def test_one_seed_and_person_give_one_plan() -> None:
    visits = plan_visits(7, "ada", IDS, AT_A_CLAUDE, 30)

    assert visits == plan_visits(7, "ada", IDS, AT_A_CLAUDE, 30)
    assert visits != plan_visits(8, "ada", IDS, AT_A_CLAUDE, 30)
    assert visits != plan_visits(7, "bea", IDS, AT_A_CLAUDE, 30)


def test_all_that_people_do_comes_and_commands_only_where_they_mean_something() -> None:
    assert {act for visit in plan_visits(1, "ada", IDS, AT_A_CLAUDE, 100) for act in visit.acts} == set(Act)
    assert {act for visit in plan_visits(1, "ada", IDS, AT_A_DEMO, 100) for act in visit.acts} == set(AT_A_DEMO)


@pytest.mark.parametrize("seed", range(5))
def test_a_draft_carries_its_mark_and_neither_digit_nor_enter(seed: int) -> None:
    for visit in plan_visits(seed, "ada", IDS, AT_A_DEMO, 50):
        assert visit.draft.startswith(DRAFT_MARK)
        assert not any(each.isdigit() or each in "\r\n/!#@" for each in visit.draft)


def test_some_letters_ask_for_a_permission_where_somebody_answers() -> None:
    letters = plan_letters(7, "a", IDS, range(1, 500), lambda command: f"@@ask {command}")

    asking = [letter for letter in letters if "@@ask" in letter.text]
    assert asking
    assert all(letter.text.endswith(f"@@ask touch ran-{letter.number}") for letter in asking)
    assert letters == plan_letters(7, "a", IDS, range(1, 500), lambda command: f"@@ask {command}")


def test_a_draft_in_a_conversation_is_found() -> None:
    text = f"order 3 of a\n{DRAFT_MARK} ada abcdefgh"
    arrival = Arrival(instance_id=IDS[0], message_id="msg_1", text=text, at=1.0)

    (problem,) = checks.nothing_was_sent_for_a_person([arrival])

    assert problem.startswith(f"submitted: {IDS[0]} got what a person had typed")


def test_a_command_that_ran_without_a_yes_is_found(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.decided(IDS[0], "touch ran-1", allow=True)
    book.decided(IDS[0], "touch ran-2", allow=False)

    problems = checks.nothing_was_approved(book, [(IDS[0], "touch ran-1"), (IDS[0], "touch ran-2")])

    assert problems == [f"approved: {IDS[0]} ran 'touch ran-2', and nobody had allowed it"]
    assert book.decisions == 2
