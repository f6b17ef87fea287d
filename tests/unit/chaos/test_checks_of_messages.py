"""The checks of a chaos round see every kind of loss: shown on logs that were falsified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.chaos import checks
from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Ledger, Probe
from tests.unit.chaos.doctored import CONTEXTS, IDS, LETTERS, ledger, letter, logs, message_id


def problems(book: Ledger, seen: list[Arrival]) -> list[str]:
    fates = list(book.fates.values())
    return [
        *checks.every_call_was_answered(book),
        *checks.every_accepted_message_stands_once(fates, seen),
        *checks.every_text_is_exact(fates, seen),
        *checks.nothing_else_arrived(fates, seen, CONTEXTS),
        *checks.order_is_kept(fates, seen),
    ]


def test_a_faultless_round_has_no_problem(tmp_path: Path) -> None:
    assert problems(ledger(tmp_path), logs()) == []


def test_a_lost_message_is_found(tmp_path: Path) -> None:
    (found,) = problems(ledger(tmp_path), logs(LETTERS[1:]))

    assert found.startswith("lost: message 1 of a to spec_0_0_1 (msg_000000000001)")


def test_a_message_that_was_pasted_twice_is_found(tmp_path: Path) -> None:
    found = problems(ledger(tmp_path), logs((*LETTERS, LETTERS[1])))

    assert found[0].startswith("doubled: message 2 of a")


def test_a_message_that_was_accepted_twice_under_two_ids_is_found(tmp_path: Path) -> None:
    again = Arrival(instance_id=IDS[0], message_id="msg_00000000ffff", text=LETTERS[1].text, at=8.0)

    found = problems(ledger(tmp_path), [*logs(), again])

    assert [problem.partition(":")[0] for problem in found] == ["doubled", "foreign"]


def test_swapped_messages_of_one_client_are_found(tmp_path: Path) -> None:
    swapped = (LETTERS[1], LETTERS[0], *LETTERS[2:])

    (found,) = problems(ledger(tmp_path), logs(swapped))

    assert found == "order: spec_0_0_1 got 1 of a after 2"


def test_messages_of_two_clients_may_come_in_any_order(tmp_path: Path) -> None:
    mixed = (LETTERS[3], *LETTERS[:3], LETTERS[4])

    assert problems(ledger(tmp_path), logs(mixed)) == []


def test_a_message_that_nobody_accepted_is_found(tmp_path: Path) -> None:
    (found,) = problems(ledger(tmp_path), logs((*LETTERS, letter(9))))

    assert found.startswith("foreign: spec_0_0_1 got msg_000000000009")


def test_text_under_no_header_is_found(tmp_path: Path) -> None:
    rest = Arrival(instance_id=IDS[1], message_id="", text="and more", at=8.0)

    (found,) = problems(ledger(tmp_path), [*logs(), rest])

    assert found.startswith("foreign: spec_0_0_2 got without header 'and more'")


def test_a_text_that_was_cut_short_is_found(tmp_path: Path) -> None:
    cut = [replace(each, text="order 5 of a") if each.message_id == message_id(5) else each for each in logs()]

    (found,) = problems(ledger(tmp_path), cut)

    assert found.startswith("changed: message 5")


def test_a_message_in_another_agents_log_is_found(tmp_path: Path) -> None:
    seen = [replace(each, instance_id=IDS[1]) if each.message_id == message_id(5) else each for each in logs()]

    found = problems(ledger(tmp_path), seen)

    assert found[0].startswith("astray: message 5 for spec_0_0_1 reached spec_0_0_2")


def test_a_context_that_was_given_twice_or_never_is_found(tmp_path: Path) -> None:
    context = next(each for each in logs() if each.text == CONTEXTS[IDS[0]])

    assert problems(ledger(tmp_path), [context, *logs()]) == ["context: spec_0_0_1 got its first message 2 times"]
    without = [each for each in logs() if each != context]
    assert problems(ledger(tmp_path), without) == ["context: spec_0_0_1 got its first message 0 times"]


def test_a_refused_message_is_a_problem_and_a_worse_one_when_it_arrives(tmp_path: Path) -> None:
    book = ledger(tmp_path, LETTERS[1:])
    book.expect(LETTERS[:1])
    book.answered(LETTERS[:1], [{"success": False, "error": {"code": "wrong_state", "message": "not now"}}])

    (found,) = problems(book, logs(LETTERS[1:]))
    assert found.startswith("refused: message 1")
    assert any(problem.startswith("foreign: ") for problem in problems(book, logs()))


def test_a_message_whose_call_was_never_answered_is_a_problem_but_may_have_arrived(tmp_path: Path) -> None:
    book = ledger(tmp_path, LETTERS[1:])
    book.expect(LETTERS[:1])

    assert problems(book, logs()) == ["unanswered: message 1 of a"]
    assert problems(book, logs(LETTERS[1:])) == ["unanswered: message 1 of a"]
    assert any(problem.startswith("doubled: ") for problem in problems(book, logs((*LETTERS, LETTERS[0]))))


def test_many_problems_of_a_kind_are_counted_instead_of_told(tmp_path: Path) -> None:
    letters = tuple(letter(number) for number in range(1, 100))

    found = checks.every_accepted_message_stands_once(ledger(tmp_path, letters).fates.values(), [])

    assert len(found) == 9
    assert found[-1] == "… and 91 more that begin with lost"


def test_a_receipt_that_says_something_else_is_found(tmp_path: Path) -> None:
    fates = ledger(tmp_path).fates.values()
    good = {message_id(each.number): "submitted" for each in LETTERS}

    assert checks.receipts_say_submitted(fates, good) == []
    assert len(checks.receipts_say_submitted(fates, {**good, message_id(1): "unconfirmed"})) == 1
    assert len(checks.receipts_say_submitted(fates, dict(list(good.items())[1:]))) == 1


def test_copies_that_differ_are_found() -> None:
    file = {"instance/1": b"x", "receipt/2": b"y"}

    assert checks.copies_are_equal(file, dict(file)) == []
    assert checks.copies_are_equal(file, {"instance/1": b"x"}) == ["copies: receipt/2 is only in the file"]
    assert checks.copies_are_equal(file, {**file, "receipt/3": b""}) == ["copies: receipt/3 is only in Redis"]
    assert checks.copies_are_equal(file, {**file, "receipt/2": b"z"}) == ["copies: receipt/2 differs"]


def test_a_list_that_told_a_wrong_story_is_found(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.probes.append(Probe(asked_at=1.0, answered_at=1.1, answered=True))
    assert checks.list_never_told_a_wrong_story(book) == []

    book.probes.append(Probe(asked_at=2.0, answered_at=2.1, answered=True, complaint="not listed: spec_0_0_1"))

    assert checks.list_never_told_a_wrong_story(book) == ["list: at 2.00: not listed: spec_0_0_1"]
