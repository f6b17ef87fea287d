"""A round is repeatable from its seed, and its figures say what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import arrivals, record
from tests.chaos.arrivals import Arrival
from tests.chaos.figures import Row, rows_of, table
from tests.chaos.ledger import Killed, Probe
from tests.chaos.plan import Target, plan_calls, plan_kills, plan_letters
from tests.unit.chaos.doctored import IDS, LETTERS, ledger, log, message_id


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
    assert table([row])[-1] == "| GCS | 1 | 1 | 1 | 2.0 s / 2.0 s | 4.0 s / 4.0 s |"


def test_the_table_goes_between_the_marks_of_the_page_and_touches_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text(f"before\n{record.BEGIN}\nold\n{record.END}\nafter\n")
    rows = {target: Row(target) for target in Target}
    rows[Target.HOST].kills = 4

    record.write(record.Total(seed=5, rows=rows, rounds=2, messages=40), page)

    text = page.read_text()
    assert text.startswith(f"before\n{record.BEGIN}\n")
    assert text.endswith(f"{record.END}\nafter\n")
    assert "old" not in text
    assert "| host actor | 4 | 0 | 0 | – | – |" in text
    assert "2 rounds from seed 5, 4 kills, 40 messages accepted: nothing was found." in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("nothing")

    with pytest.raises(ValueError, match="marks"):
        record.write(record.Total(seed=1, rows={}), page)
    assert page.read_text() == "nothing"
