"""What an instance is said to have been asked, and to do now, by its transcript."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import ConversationItem, EntryKind
from actors.instance.activity import LONGEST, Activity, call_in_words, head, task_in
from actors.instance.inbox import compose
from actors.messages import Message


def entry(kind: EntryKind, text: str = "", at: str = "", **more: Any) -> ConversationItem:
    return ConversationItem(kind=kind, at=at, text=text, **more)


def call(tool: str, at: str = "", **tool_input: Any) -> ConversationItem:
    return entry(EntryKind.TOOL_CALL, at=at, tool=tool, tool_input=tool_input)


def message(text: str, sender: str = "lead", number: int = 1) -> Message:
    return Message(id=f"msg_{number}", instance_id="spec_1", sender=sender, text=text, immediate=False, accepted_at=1.0)


def after(*entries: ConversationItem) -> Activity:
    activity = Activity()
    for each in entries:
        activity.take_in(each)
    return activity


QUESTION, ANSWER = EntryKind.QUESTION, EntryKind.ANSWER


def test_the_task_is_the_last_message_of_the_last_prompt_that_asks_for_something() -> None:
    first = compose([message("Write the parser.\nIn Python.")])
    more = compose([message("And tests."), message("\n---\n  Then   merge. \nNow.", number=2)])
    told = compose([message("spec_2 became idle", sender="team")])
    assert after(entry(QUESTION, first)).task == "Write the parser."
    assert after(entry(QUESTION, first), entry(QUESTION, more), entry(QUESTION, told)).task == "Then merge."


def test_what_a_person_types_is_a_task_too() -> None:
    assert after(entry(QUESTION, compose([message("a")])), entry(QUESTION, "fix the build")).task == "fix the build"


def test_while_it_works_the_last_call_or_words_of_the_turn_are_shown_and_at_rest_its_last_answer() -> None:
    activity = after(entry(QUESTION, "a"), entry(ANSWER, "I am on it.", "1"), call("Bash", "2", command="npm test"))
    assert (activity.now(idle=False).text, activity.now(idle=False).at) == ("Bash: npm test", "2")
    assert (activity.now(idle=True).text, activity.now(idle=True).at) == ("I am on it.", "1")
    activity.take_in(entry(ANSWER, "\nDone.\nAll is well.", "3"))
    assert activity.now(idle=False) == activity.now(idle=True)
    assert activity.now(idle=True).text == "Done."
    activity.take_in(entry(QUESTION, "b"))
    assert activity.now(idle=False).text == ""
    assert activity.now(idle=True).text == "Done."


@pytest.mark.parametrize(
    ("tool", "tool_input", "words"),
    [
        ("Bash", {"command": "npm test\nnpm run lint", "description": "Run tests"}, "Bash: npm test"),
        ("Read", {"file_path": "/src/tree/src/a.py", "limit": 3}, "Read: src/a.py"),
        ("Read", {"file_path": "/src/trees/a.py"}, "Read: /src/trees/a.py"),
        ("Grep", {"pattern": "def main", "path": "/src/tree"}, "Grep: def main"),
        ("Task", {"description": "Look around", "prompt": "Look at all."}, "Task: Look around"),
        ("AskUserQuestion", {"questions": [{"question": "Which one?"}]}, "AskUserQuestion: Which one?"),
        ("TodoWrite", {"todos": [{"content": "a"}]}, "TodoWrite"),
        ("Odd", {"command": 3, "questions": "x"}, "Odd"),
    ],
)
def test_a_call_is_told_by_its_most_telling_argument(tool: str, tool_input: dict[str, Any], words: str) -> None:
    assert call_in_words(tool, tool_input, "/src/tree") == words


def test_the_model_is_that_of_the_last_answer_that_names_one() -> None:
    activity = after(entry(ANSWER, "x", model="claude-a"), call("Bash"), entry(EntryKind.NOTICE, "API Error"))
    assert activity.model == "claude-a"


@given(st.text(max_size=600), st.dictionaries(st.text(max_size=12), st.text(max_size=400), max_size=4))
def test_heads_are_short_and_of_one_line_whatever_is_said(text: str, tool_input: dict[str, str]) -> None:
    for words in (head(text), task_in(text), call_in_words(text, {"command": text, **tool_input}, text)):
        assert len(words) <= LONGEST
        assert words == " ".join(words.split())
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in words)


@pytest.mark.timeout(20)
def test_a_line_of_megabytes_costs_no_more_than_a_short_one() -> None:
    assert head("  Read this: " + "<pasted_content " * 300_000).startswith("Read this: <pasted_content")
    assert head(" " * 3_000_000 + "late\nnext") == "late"
