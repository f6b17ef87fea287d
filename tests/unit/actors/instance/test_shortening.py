from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.base import ConversationItem, EntryKind
from actors.instance.transcript import LONGEST_OTHER, LONGEST_SPOKEN, shortened, size_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)


def entry(kind: EntryKind, text: str = "", **tool_input: Any) -> ConversationItem:
    return ConversationItem(kind=kind, at="", text=text, tool_input=tool_input)


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (EntryKind.QUESTION, LONGEST_SPOKEN),
        (EntryKind.ANSWER, LONGEST_SPOKEN),
        (EntryKind.TOOL_RESULT, LONGEST_OTHER),
        (EntryKind.NOTICE, LONGEST_OTHER),
    ],
)
def test_what_tools_print_is_shortened_earlier_than_what_is_said(kind: EntryKind, longest: int) -> None:
    assert shortened(entry(kind, "x" * longest)) == (entry(kind, "x" * longest), 0)
    short, left_out = shortened(entry(kind, "x" * longest + "yz"))
    assert (short.text, left_out) == ("x" * longest, 2)


def test_a_long_input_keeps_its_names_and_short_values() -> None:
    call = entry(EntryKind.TOOL_CALL, file_path="/src/a.py", content="c" * 10_000)
    short, left_out = shortened(call)
    assert short.tool_input["file_path"] == "/src/a.py"
    assert len(short.tool_input["content"]) + left_out == 10_000
    assert size_of(short) < LONGEST_OTHER + 100


@given(st.dictionaries(st.text(max_size=20), JSON, max_size=5))
def test_a_shortened_input_is_bounded_and_says_when_something_is_missing(tool_input: dict[str, Any]) -> None:
    short, left_out = shortened(ConversationItem(kind=EntryKind.TOOL_CALL, at="", text="", tool_input=tool_input))
    assert (left_out == 0) == (short.tool_input == tool_input)
    assert characters(short.tool_input) <= LONGEST_OTHER
    json.dumps(short.tool_input)


def characters(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(name) + characters(inner) for name, inner in value.items())
    if isinstance(value, list):
        return sum(map(characters, value))
    return len(str(value))
