"""Lines that the parser of messages does not take."""

from __future__ import annotations

import mcp_types as types
import pytest

from mcp_entry.stdio import repaired


def test_half_a_character_becomes_a_question_mark_and_the_rest_stays() -> None:
    item = repaired(r'{"jsonrpc": "2.0", "id": 7, "method": "m", "params": {"a": "\ud83d\ude00 \ud83d \\ud83d"}}')
    assert item is not None
    assert isinstance(item.message, types.JSONRPCRequest)
    assert item.message.id == 7
    assert item.message.params == {"a": "\N{GRINNING FACE} ? \\ud83d"}


@pytest.mark.parametrize("line", ["", "no json", "[]", "{}", r'"\ud83d"', "[" * 100_000])
def test_what_is_no_message_is_not_made_one(line: str) -> None:
    assert repaired(line) is None
