from __future__ import annotations

import json
from typing import Any

import pytest

from actors.agents.base import ConversationItem, EntryKind, TokenUse
from actors.agents.claude_records import read_transcript

AT = "2026-11-23T22:18:32.028Z"
USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 2,
    "service_tier": "standard",
}
TOKENS = TokenUse(input_tokens=10, output_tokens=5, cache_read_tokens=3, cache_creation_tokens=2)


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "timestamp": AT, "isSidechain": False, **fields}, ensure_ascii=False).encode()


def user(content: Any, **fields: Any) -> bytes:
    return line("user", message={"role": "user", "content": content}, **fields)


def assistant(*blocks: Any, **fields: Any) -> bytes:
    message = {"id": "msg_1", "role": "assistant", "content": list(blocks), "usage": USAGE}
    return line("assistant", message=message, **fields)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def entry(kind: EntryKind, words: str, **fields: Any) -> ConversationItem:
    return ConversationItem(kind=kind, at=AT, text=words, **fields)


def answered(kind: EntryKind, words: str, **fields: Any) -> ConversationItem:
    return entry(kind, words, answer_id="msg_1", tokens=TOKENS, **fields)


AWKWARD = " lead\n\n\u2028tab    $(x) `y` \\ [Request interrupted by user]\n❯ 1. Yes\n"


def test_a_prompt_is_a_question_with_its_exact_text() -> None:
    assert read_transcript(user(AWKWARD, origin={"kind": "human"})) == (entry(EntryKind.QUESTION, AWKWARD),)


def test_a_message_taken_into_the_turn_under_way_is_a_question() -> None:
    queued = {"type": "queued_command", "prompt": AWKWARD, "commandMode": "prompt"}
    assert read_transcript(line("attachment", attachment=queued)) == (entry(EntryKind.QUESTION, AWKWARD),)


def test_an_answer_carries_its_tokens_and_the_id_that_groups_it() -> None:
    given = assistant({"type": "thinking", "thinking": "hm"}, text("yes"))
    assert read_transcript(given) == (answered(EntryKind.ANSWER, "yes"),)


def test_a_tool_call_and_its_result_are_entries() -> None:
    call = assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}})
    result = user([{"type": "tool_result", "tool_use_id": "t1", "content": [text("a"), text("b")]}])

    assert read_transcript(call) == (answered(EntryKind.TOOL_CALL, "", tool="Bash", tool_input={"command": "ls"}),)
    assert read_transcript(result) == (entry(EntryKind.TOOL_RESULT, "a\nb"),)


@pytest.mark.parametrize("words", ["[Request interrupted by user]", "[Request interrupted by user for tool use]"])
def test_an_interrupt_is_a_notice_but_the_same_words_of_a_person_are_not(words: str) -> None:
    assert read_transcript(user([text(words)])) == (entry(EntryKind.NOTICE, words, interrupted=True),)
    assert read_transcript(user(words)) == (entry(EntryKind.QUESTION, words),)


def test_an_api_error_is_a_notice() -> None:
    given = assistant(text("API Error: 500"), isApiErrorMessage=True, error="server_error", apiErrorStatus=500)
    assert read_transcript(given) == (answered(EntryKind.NOTICE, "API Error: 500"),)


def test_a_slash_command_of_a_person_is_a_notice() -> None:
    assert read_transcript(user("<command-name>/mcp</command-name>"))[0].kind is EntryKind.NOTICE
    assert read_transcript(user("<bash-input>ls</bash-input>"))[0].kind is EntryKind.NOTICE


def test_a_compaction_is_a_notice_and_its_summary_is_left_out() -> None:
    boundary = line("system", subtype="compact_boundary", content="Conversation compacted")
    assert read_transcript(boundary) == (entry(EntryKind.NOTICE, "Conversation compacted"),)
    assert read_transcript(user("This session is being continued…", isCompactSummary=True)) == ()


@pytest.mark.parametrize(
    "given",
    [
        user("a subagent's prompt", isSidechain=True),
        user("a reminder", isMeta=True),
        line("attachment", attachment={"type": "skill_listing", "content": "…"}),
        line("attachment", attachment={"type": "queued_command", "prompt": "ls", "commandMode": "bash"}),
        line("system", subtype="turn_duration", durationMs=3),
        line("queue-operation", operation="enqueue", content="x"),
        line("file-history-snapshot"),
        assistant(text("No response requested."), isApiErrorMessage=False),
        user([{"type": "image", "source": {}}]),
        user(None),
        b"{}",
    ],
)
def test_bookkeeping_is_left_out(given: bytes) -> None:
    assert read_transcript(given) == ()


@pytest.mark.parametrize("given", [user("x")[:-1], b"\xff", b"3"])
def test_a_torn_line_is_an_error(given: bytes) -> None:
    with pytest.raises(ValueError):
        read_transcript(given)
