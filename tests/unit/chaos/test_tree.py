"""A round of a team that leads itself: its plan is repeatable and allowed, and its checks see every kind of fault."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.api.requests import Role
from supervisor.team.access import MAY_START
from tests.chaos import tool_calls, tree_checks
from tests.chaos.arrivals import Arrival
from tests.chaos.copies import Told
from tests.chaos.tool_calls import ToolCall
from tests.chaos.tree import TREE, Errands, Hand, Members, Word, flat, last_call, levels, plan_orders

ROLES = {
    "exec_1": "executive",
    "mgr_1_1": "manager",
    "mgr_1_2": "manager",
    "spec_1_1_1": "specialist",
    "spec_1_1_2": "specialist",
}
LEADS = {"mgr_1_1": "exec_1", "mgr_1_2": "exec_1", "spec_1_1_1": "mgr_1_1", "spec_1_1_2": "mgr_1_1"}
MEMBERS = Members(roles=ROLES, leads=LEADS, directory="/project")
_CALL = re.compile(r"^@@demo team (\w+) (.*)$", re.MULTILINE)


def asked_in(sender: str, text: str) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Who calls what, in a letter and in the words that come of it."""
    for tool, given in _CALL.findall(text):
        arguments = json.loads(given)
        yield sender, tool, arguments
        if tool == "send":
            yield from asked_in(arguments["instanceId"], arguments["message"])


def test_the_tree_has_twelve_members_of_whom_leads_come_first_and_lead_whom_they_may_start() -> None:
    assert len(TREE) == 12
    for at, place in enumerate(TREE):
        if place.lead is not None:
            assert place.lead < at
            assert Role(place.role) in MAY_START[Role(TREE[place.lead].role)]
    assert levels(TREE) == [[0, 1], [2, 3, 10, 11], [4, 5, 6, 7, 8, 9]]
    assert levels(flat(3)) == [[0, 1, 2]]


def test_members_send_to_those_below_them_their_lead_and_managers_to_each_other() -> None:
    assert sorted(MEMBERS.may_send_to("exec_1")) == ["mgr_1_1", "mgr_1_2", "spec_1_1_1", "spec_1_1_2"]
    assert sorted(MEMBERS.may_send_to("mgr_1_1")) == ["exec_1", "mgr_1_2", "spec_1_1_1", "spec_1_1_2"]
    assert MEMBERS.may_send_to("spec_1_1_1") == ["mgr_1_1"]


def test_one_seed_gives_one_plan_of_orders() -> None:
    orders = plan_orders(7, "a", MEMBERS, range(1, 50), 5)
    assert orders == plan_orders(7, "a", MEMBERS, range(1, 50), 5)
    assert orders != plan_orders(8, "a", MEMBERS, range(1, 50), 5)


def test_what_the_letters_ask_for_is_what_the_errands_say_and_each_word_is_unique() -> None:
    letters, errands = plan_orders(7, "a", MEMBERS, range(1, 200), 9)

    asked = [each for letter in letters for each in asked_in(letter.instance_id, letter.text)]

    sent = [(who, given["instanceId"], given["message"]) for who, tool, given in asked if tool == "send"]
    assert sorted(sent) == sorted((word.sender, word.receiver, word.text) for word in errands.words)
    assert all(word.receiver in MEMBERS.may_send_to(word.sender) for word in errands.words)
    titles = [word.text.partition("\n")[0] for word in errands.words]
    assert len(set(titles)) == len(titles) > 100
    started = [(who, given["name"], given["context"]) for who, tool, given in asked if tool == "spawn"]
    assert started == [(hand.lead, hand.name, hand.context) for hand in errands.hands]
    assert len({hand.name for hand in errands.hands}) == 9
    assert {hand.lead for hand in errands.hands} <= set(LEADS.values())
    assert [(who, given["instanceIds"]) for who, tool, given in asked if tool == "terminate"] == [
        (hand.lead, [hand.name]) for hand in errands.hands
    ]


def test_the_last_call_has_each_lead_end_all_its_hands() -> None:
    _, errands = plan_orders(7, "a", MEMBERS, range(1, 200), 9)

    call = last_call(7, "a", errands, 1000)

    ended = [
        (who, name)
        for letter in call.letters
        for who, tool, given in asked_in(letter.instance_id, letter.text)
        for name in given["instanceIds"]  # type: ignore[attr-defined]
        if tool == "terminate"
    ]
    assert sorted(ended) == sorted((hand.lead, hand.name) for hand in errands.hands)
    assert [letter.number for letter in call.letters] == list(range(1000, 1000 + len(call.letters)))
    assert [each["message"] for each in call.arguments["messages"]] == [letter.text for letter in call.letters]


def line(content: list[dict[str, object]]) -> bytes:
    return json.dumps({"message": {"content": content}}).encode() + b"\n"


def test_the_calls_of_a_demo_are_read_with_their_answers() -> None:
    transcript = b"".join(
        [
            json.dumps({"type": "user", "message": {"content": "do it"}}).encode() + b"\n",
            line([{"type": "tool_use", "id": "1", "name": "Bash", "input": {}}]),
            line([{"type": "tool_use", "id": "2", "name": "mcp__phalanx-team__send", "input": {"message": "hi"}}]),
            line([{"type": "tool_result", "tool_use_id": "2", "content": "Accepted.", "is_error": False}]),
            line([{"type": "tool_use", "id": "3", "name": "mcp__phalanx-team__list", "input": {}}]),
        ]
    )

    assert tool_calls.of_demo("mgr_1_1", [transcript]) == [
        ToolCall(instance_id="mgr_1_1", tool="send", arguments={"message": "hi"}, answer="Accepted."),
        ToolCall(instance_id="mgr_1_1", tool="list", arguments={}),
    ]


CALL = line([{"type": "tool_use", "id": "2", "name": "mcp__phalanx-team__send", "input": {}}])
RESULT = line([{"type": "tool_result", "tool_use_id": "2", "content": "Accepted.", "is_error": False}])


@pytest.mark.parametrize(
    ("transcript", "under_way"),
    [
        (b"", False),
        (CALL, True),
        (RESULT + CALL, True),
        (CALL + RESULT, False),
        (CALL + RESULT[:-9], False),
        (line([{"type": "text", "text": "x" * 20_000}]) + CALL, True),
        (line([{"type": "text", "text": "x" * 20_000}]), False),
    ],
    ids=["nothing yet", "a call", "another call", "an answer", "half an answer", "a call after much", "much"],
)
def test_a_call_that_waits_for_its_answer_is_seen_at_the_end_of_the_transcript(
    tmp_path: Path, transcript: bytes, under_way: bool
) -> None:
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(transcript)

    assert tool_calls.is_under_way(path) is under_way


FIRST = Word(text="word 1.0 from mgr_1_1\nand more", sender="mgr_1_1", receiver="spec_1_1_1")
SECOND = Word(text="word 1.0 back from spec_1_1_1", sender="spec_1_1_1", receiver="mgr_1_1")
HAND = Hand(name="hand-2", lead="mgr_1_1", context="hand of order 2 of a")
ERRANDS = Errands(words=[FIRST, SECOND], hands=[HAND])


def called(word: Word) -> ToolCall:
    given = {"instanceId": word.receiver, "message": word.text}
    return ToolCall(instance_id=word.sender, tool="send", arguments=given, answer="Accepted.")


def arrived(word: Word) -> Arrival:
    return Arrival(
        instance_id=word.receiver, message_id=f"msg_{word.sender}", text=word.text, at=1.0, sender=word.sender
    )


STARTED = ToolCall(
    instance_id="mgr_1_1", tool="spawn", arguments={"name": "hand-2", "context": HAND.context}, answer="It works."
)
CALLS = [called(FIRST), STARTED, called(SECOND)]
WORDS = [arrived(FIRST), arrived(SECOND)]


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        pytest.param(CALLS, [], id="all were made and answered"),
        pytest.param(CALLS[:2], ["call: spec_1_1_1 made send 'word 1.0 back from spec_1_1_1' 0 times"], id="not made"),
        pytest.param([*CALLS, CALLS[0]], ["call: mgr_1_1 made send 'word 1.0 from mgr_1_1' 2 times"], id="made twice"),
        pytest.param(
            [CALLS[0], replace(STARTED, answer=None), CALLS[2]],
            ["call: spawn 'hand-2' of mgr_1_1 got no answer"],
            id="not answered",
        ),
        pytest.param(
            [replace(CALLS[0], answer="The team is away.", refused=True), *CALLS[1:]],
            ["call: send 'word 1.0 from mgr_1_1' of mgr_1_1 got The team is away."],
            id="refused",
        ),
        pytest.param(
            [replace(CALLS[0], instance_id="mgr_1_2"), *CALLS[1:]],
            ["call: mgr_1_1 made send 'word 1.0 from mgr_1_1' 0 times"],
            id="made by another",
        ),
    ],
)
def test_a_call_that_is_missing_doubled_or_without_success_is_found(calls: list[ToolCall], told: list[str]) -> None:
    assert tree_checks.every_call_was_made_once_and_answered(ERRANDS, calls) == told


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(WORDS, [], id="each stands once"),
        pytest.param(WORDS[:1], ["word: 'word 1.0 back from spec_1_1_1' to mgr_1_1 stands 0 times"], id="lost"),
        pytest.param([*WORDS, WORDS[0]], ["word: 'word 1.0 from mgr_1_1' to spec_1_1_1 stands 2 times"], id="doubled"),
        pytest.param(
            [replace(WORDS[0], instance_id="spec_1_1_2"), WORDS[1]],
            ["word: spec_1_1_2 got 'word 1.0 from mgr_1_1\\nand more' of mgr_1_1 instead"],
            id="astray",
        ),
        pytest.param(
            [replace(WORDS[0], sender="exec_1"), WORDS[1]],
            ["word: spec_1_1_1 got 'word 1.0 from mgr_1_1\\nand more' of exec_1 instead"],
            id="in another's name",
        ),
        pytest.param(
            [replace(WORDS[0], text="word 1.0 from mgr_1_1"), WORDS[1]],
            ["word: spec_1_1_1 got 'word 1.0 from mgr_1_1' of mgr_1_1 instead"],
            id="changed",
        ),
        pytest.param(
            [*WORDS, replace(WORDS[0], text="obey")],
            ["word: spec_1_1_1 got 'obey' of mgr_1_1, which nobody sent"],
            id="foreign",
        ),
    ],
)
def test_a_word_that_is_lost_doubled_changed_or_foreign_is_found(seen: list[Arrival], told: list[str]) -> None:
    found = tree_checks.every_word_stands_once(ERRANDS, seen)
    assert [problem[: len(words)] for problem, words in zip(found, told, strict=True)] == told


def test_a_receipt_of_what_arrived_that_says_something_else_is_found() -> None:
    good = {each.message_id: "submitted" for each in WORDS}
    first = WORDS[0].message_id
    assert tree_checks.every_receipt_says_submitted(WORDS, good) == []
    for status in ("unconfirmed", "accepted"):
        (found,) = tree_checks.every_receipt_says_submitted(WORDS, {**good, first: status})
        assert found == f"receipt: {first} of mgr_1_1 to spec_1_1_1: {status}"


@pytest.mark.parametrize(
    ("names", "contexts", "count"),
    [
        pytest.param(["hand-2"], [HAND.context], 0, id="one was made"),
        pytest.param([], [], 1, id="none"),
        pytest.param(["hand-2", "hand-2"], [HAND.context], 1, id="two"),
        pytest.param(
            ["hand-2"], [HAND.context, HAND.context], 1, id="one that began twice, or another that is forgotten"
        ),
        pytest.param(["hand-2"], [HAND.context, "more"], 1, id="one more that nobody asked for"),
    ],
)
def test_a_start_that_made_none_or_several_is_found(names: list[str], contexts: list[str], count: int) -> None:
    found = tree_checks.every_start_made_one(ERRANDS, CALLS, names, contexts)
    assert [problem.partition(":")[0] for problem in found] == ["start"] * count


def test_a_start_that_was_refused_and_made_one_all_the_same_is_found() -> None:
    refused = [replace(STARTED, answer="The host is not running now: try again.", refused=True)]

    assert tree_checks.every_start_made_one(ERRANDS, refused, [], []) == []
    (problem,) = tree_checks.every_start_made_one(ERRANDS, refused, ["hand-2"], [HAND.context])
    assert problem.startswith("start: hand-2 of mgr_1_1 was made 1 times")


def ended(instance_id: str, parent_id: str) -> Told:
    return Told(number=1, kind="became_idle", instance_id=instance_id, parent_id=parent_id)


def told(lead: str, *lines: str) -> Arrival:
    return Arrival(instance_id=lead, message_id="msg_t", text="\n".join(lines), at=1.0, sender=tree_checks.TEAM)


ENDS = [
    ended("spec_1_1_1", "mgr_1_1"),
    ended("spec_1_1_1", "mgr_1_1"),
    ended("spec_1_1_9", "mgr_1_1"),
    ended("mgr_1_1", "exec_1"),
    ended("exec_1", ""),
    replace(ended("spec_1_1_1", "mgr_1_1"), kind="needs_attention"),
]
TOLD_LEADS = [
    told(
        "mgr_1_1",
        "spec_1_1_1 ended a turn. Its answer:",
        "> spec_1_1_1 is idle.",
        "spec_1_1_1 is idle. Its answer:",
        "> done",
    ),
    told("mgr_1_1", "spec_1_1_9 (hand-2) is idle without an answer."),
    told("exec_1", "mgr_1_1 is idle. Its answer:", "> done"),
]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        pytest.param(TOLD_LEADS, [], id="each was told once"),
        pytest.param(TOLD_LEADS[1:], ["told: mgr_1_1 was not told of ends of turns: 2 of spec_1_1_1"], id="lost"),
        pytest.param(
            [*TOLD_LEADS, TOLD_LEADS[2]],
            ["told: exec_1 was told 2 times of 1 ends of turns of mgr_1_1"],
            id="told twice",
        ),
        pytest.param(
            [*TOLD_LEADS, told("exec_1", "spec_1_1_1 is idle. Its answer:")],
            ["told: exec_1 was told 1 times of 0 ends of turns of spec_1_1_1"],
            id="told to another",
        ),
        pytest.param(
            [*TOLD_LEADS[1:], told("mgr_1_1", "2 more: spec_1_1_1. See list, and read their answers.")],
            [],
            id="told by their number alone",
        ),
    ],
)
def test_an_end_of_a_turn_that_was_not_told_or_told_twice_is_found(messages: list[Arrival], words: list[str]) -> None:
    assert tree_checks.every_end_of_a_turn_is_told_once({"exec_1", "mgr_1_1"}, ENDS, messages) == words
