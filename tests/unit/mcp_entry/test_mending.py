"""Lines that the SDK's parser does not take."""

from __future__ import annotations

import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from mcp_entry.mending import mended


def parsed(line: str) -> SessionMessage | Exception:
    """What the SDK's transport makes of a line."""
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return error


def test_half_a_character_becomes_a_question_mark_and_the_rest_stays() -> None:
    item = mended(parsed(r'{"jsonrpc": "2.0", "id": 7, "method": "m", "params": {"a": "\ud83d\ude00 \ud83d \\ud83d"}}'))
    assert isinstance(item, SessionMessage)
    assert isinstance(item.message, types.JSONRPCRequest)
    assert item.message.id == 7
    assert item.message.params == {"a": "\N{GRINNING FACE} ? \\ud83d"}


def test_a_whole_message_is_passed_on_as_it_is() -> None:
    item = parsed('{"jsonrpc": "2.0", "id": 7, "method": "m"}')
    assert mended(item) is item


@pytest.mark.parametrize("line", ["", "no json", "[]", "{}", r'"\ud83d"', "[" * 100_000])
def test_what_is_no_message_stays_an_error(line: str) -> None:
    item = parsed(line)
    assert isinstance(item, ValidationError)
    assert mended(item) is item
