"""A round is repeatable from its seed; its figures and promises say what happened."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import arrivals, checks, play, record, tree_checks, verdict
from tests.chaos.arrivals import Arrival
from tests.chaos.figures import Row, rows_of
from tests.chaos.figures import table as figures_table
from tests.chaos.ledger import Killed, Probe
from tests.chaos.plan import AIMS_IN_A_TREE, TARGETS_IN_A_TREE, Aim, Target, plan_calls, plan_kills, plan_letters
from tests.chaos.promises import PROMISES, Put, table, word_of
from tests.chaos.record import PAGE
from tests.chaos.visits import AT_A_CLAUDE, AT_A_DEMO, DRAFT_MARK, Act, plan_visits
from tests.unit.chaos.faultless import IDS, LETTERS, ledger, log, message_id


def test_one_seed_gives_one_plan() -> None:
    assert plan_kills(7, 30) == plan_kills(7, 30) != plan_kills(8, 30)
    letters = plan_letters(7, "a", IDS, range(1, 50))
    assert letters == plan_letters(7, "a", IDS, range(1, 50)) != plan_letters(8, "a", IDS, range(1, 50))
    assert plan_calls(7, "a", letters, 10.0) == plan_calls(7, "a", letters, 10.0)


@pytest.mark.parametrize("seed", range(20))
def test_every_round_kills_everything_at_least_once(seed: int) -> None:
    kills = plan_kills(seed, 18)

    assert {kill.target for kill in kills} == set(Target)
    assert len(kills) == 18
    assert any(kill.let_recover for kill in kills)
    assert all(0 <= kill.after_s <= 4 and 1 <= kill.count <= 5 for kill in kills)


def test_only_in_a_tree_kills_wait_for_a_call_of_an_instance() -> None:
    kills = [kill for seed in range(20) for kill in plan_kills(seed, 18, TARGETS_IN_A_TREE, aims=AIMS_IN_A_TREE)]
    aims = {kill.aim for kill in kills}

    assert aims == set(Aim)
    assert {kill.aim for kill in kills if kill.target is Target.ENDPOINT} == {Aim.DURING_A_CALL}
    assert {kill.target for kill in kills} == set(Target)
    assert {kill.aim for seed in range(20) for kill in plan_kills(seed, 18)} == aims - {Aim.DURING_A_CALL}


def test_the_calls_send_every_letter_once_in_order_and_with_an_id_of_their_own() -> None:
    letters = plan_letters(3, "a", IDS, range(1, 500))

    calls = plan_calls(3, "a", letters, 30.0)

    sends = [call for call in calls if call.letters]
    assert [letter for call in sends for letter in call.letters] == letters
    assert len({call.arguments["requestId"] for call in sends}) == len(sends)
    assert [call.due_s for call in calls] == sorted(call.due_s for call in calls)
    assert calls[-1].due_s <= 30.0


def test_the_log_of_a_demo_is_read_message_by_message_up_to_its_last_whole_line() -> None:
    found = arrivals.of_demo(IDS[0], log(IDS[0]) + b'{"at": 1, "prom')

    assert [each.message_id for each in found] == ["msg_c0", *(message_id(number) for number in (1, 2, 4, 5))]
    assert found[1].text == LETTERS[0].text


def test_text_that_a_demo_took_for_a_command_counts_as_arrived_without_header() -> None:
    (found,) = arrivals.of_demo(IDS[0], b'{"at": 1, "command": "/exit"}\n')

    assert (found.message_id, found.text) == ("", "taken for a command: /exit")


def test_a_transcript_of_claude_is_read_as_it_was_typed() -> None:
    at = {"timestamp": "2026-11-24T01:00:00.000Z"}
    entries = [
        {"type": "user", "message": {"content": "[phalanx msg_1 from lead]\none"}, **at},
        {"type": "user", "isMeta": True, "message": {"content": "Caveat: …"}, **at},
        {"type": "user", "message": {"content": [{"type": "tool_result"}]}, **at},
        {
            "type": "attachment",
            "attachment": {"type": "queued_command", "prompt": "[phalanx msg_2 from lead]\ntwo"},
            **at,
        },
        {
            "type": "user",
            "message": {
                "content": '<pasted_content id="7">\n[phalanx msg_3 from lead]\nthree\n</pasted_content id="7">'
            },
            **at,
        },
    ]

    found = arrivals.of_claude("spec_0_0_1", b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))

    assert [(each.message_id, each.text) for each in found] == [("msg_1", "one"), ("msg_2", "two"), ("msg_3", "three")]


def test_times_are_counted_from_the_kill_to_the_first_list_and_to_the_last_message_accepted_before(
    tmp_path: Path,
) -> None:
    book = ledger(tmp_path, LETTERS[:3])
    for number, accepted_at in ((1, 9.0), (2, 9.5), (3, 10.5)):
        book.fates[number].accepted_at = accepted_at
    seen = [
        Arrival(instance_id=IDS[0], message_id=message_id(number), text="", at=at)
        for number, at in ((1, 9.8), (2, 14.0), (3, 20.0))
    ]
    probes = [
        Probe(asked_at=9.9, answered_at=10.1, answered=True),
        Probe(asked_at=10.2, answered_at=10.3, answered=True),
        Probe(asked_at=10.4, answered_at=11.0, answered=False),
        Probe(asked_at=11.1, answered_at=12.0, answered=True),
    ]
    kills = [
        Killed(target=Target.GCS, at=10.0, found=True, undelivered=1, being_typed=3),
        Killed(target=Target.GCS, at=10.1, found=False),
    ]

    row = rows_of(kills, probes, book.fates.values(), seen)[Target.GCS]

    assert (row.kills, row.while_typing, row.undelivered, row.list_s, row.delivered_s) == (1, 1, 1, [2.0], [4.0])
    assert figures_table([row])[-1] == "| GCS | 1 | 1 | 1 | 2.0 s / 2.0 s | 4.0 s / 4.0 s |"


def test_the_table_goes_between_the_marks_of_the_page_and_touches_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text(f"before\n{record.BEGIN}\nfigures of before\n{record.END}\nafter\n")
    rows = {target: Row(target) for target in Target}
    rows[Target.HOST].kills = 4

    record.write(record.Total(seed=5, rows=rows, rounds=2, messages=40), page)

    text = page.read_text()
    assert text.startswith(f"before\n{record.BEGIN}\n")
    assert text.endswith(f"{record.END}\nafter\n")
    assert "figures of before" not in text
    assert "| host actor | 4 | 0 | 0 | – | – |" in text
    assert "2 rounds from seed 5, 4 kills, 40 messages accepted: nothing was found." in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("nothing")

    with pytest.raises(ValueError, match="marks"):
        record.write(record.Total(seed=1, rows={}), page)
    assert page.read_text() == "nothing"


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


_BEGINNING = re.compile(r'f?"([a-z][a-z ]*): ')


def test_every_check_belongs_to_one_promise() -> None:
    source = "".join(inspect.getsource(module) for module in (checks, tree_checks, verdict, play))
    begun = set(_BEGINNING.findall(source)) - {"chaos", "a member could not be spawned"}
    counted = Counter(word for promise in PROMISES for word in promise.words)
    assert begun == counted.keys()
    assert set(counted.values()) == {1}


def test_the_promises_are_those_of_the_page() -> None:
    told = re.findall(r"^(\d\. )\*\*(.*?)\.\*\*", PAGE.read_text(), re.MULTILINE)
    assert ["".join(each) for each in told] == [promise.title for promise in PROMISES]


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        ("seed 7: lost: message 3 of a", "lost"),
        ("seed 7: … and 12 more that begin with doubled", "doubled"),
        ("seed 7: left behind: 12 sleep", "left behind"),
        ("seed 7: submitted: spec_0_0_1 got what a person had typed", "submitted"),
    ],
)
def test_a_problem_is_known_by_how_it_begins(problem: str, word: str) -> None:
    assert word_of(problem) == word


def test_what_was_found_stands_beside_its_promise_and_nothing_is_left_out() -> None:
    put = Put(rounds=2, accepted=4000, agents=40, looks=900, kills=80, while_typing=50, redis_away=9)
    put.recovered_s += [2.0, 10.0]
    lines = table(put, ["seed 1: lost: a", "seed 1: lost: b", "seed 2: strange: c"])
    assert lines[2].endswith("| 4000 accepted messages, 80 kills, 50 while typing | **2** |")
    assert [line.endswith("| nothing |") for line in lines[3:11]] == [True] * 8
    assert "well 6.0 s (p50), 10.0 s (most) after the last kill" in lines[5]
    assert lines[11:] == ["| anything else | | **1** |"]
    assert len(table(put, [])) == 11
