from __future__ import annotations

import json
from typing import Any

import pytest

from actors.agents.base import AgentEvent, EventKind
from actors.agents.claude_records import read_event


def line(name: str, **fields: Any) -> bytes:
    common = {"phalanx_at": 12.5, "session_id": "s1", "transcript_path": "/t.jsonl", "hook_event_name": name}
    return json.dumps({**common, **fields}).encode()


def event(kind: EventKind, **fields: Any) -> AgentEvent:
    return AgentEvent(kind=kind, at=12.5, session_id="s1", transcript_path="/t.jsonl", **fields)


BASH = {"tool_name": "Bash", "tool_input": {"command": "ls"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (line("SessionStart", source="resume"), event(EventKind.SESSION_STARTED, source="resume")),
        (line("UserPromptSubmit", prompt=" a\n\u2028b "), event(EventKind.PROMPT_SUBMITTED, text=" a\n\u2028b ")),
        (
            line("PermissionRequest", **BASH, phalanx_request_id="ab"),
            event(EventKind.PERMISSION_REQUESTED, tool="Bash", tool_input={"command": "ls"}, request_id="ab"),
        ),
        (
            line("PostToolUse", **BASH, tool_response={"stdout": ""}),
            event(EventKind.TOOL_USED, tool="Bash", tool_input={"command": "ls"}),
        ),
        (
            line("PostToolUseFailure", **BASH, error="Exit code 1"),
            event(EventKind.TOOL_USED, tool="Bash", tool_input={"command": "ls"}),
        ),
        (
            line("PostToolUse", tool_name="Bash", phalanx_slimmed=True),
            event(EventKind.TOOL_USED, tool="Bash", slimmed=True),
        ),
        (line("Stop", last_assistant_message="done"), event(EventKind.TURN_ENDED, text="done")),
        (
            line("StopFailure", error="rate_limit", last_assistant_message="API Error: 429"),
            event(EventKind.TURN_FAILED, text="API Error: 429", rate_limited=True),
        ),
        (line("StopFailure", error="server_error"), event(EventKind.TURN_FAILED, text="server_error")),
        (
            line("Notification", notification_type="permission_prompt", message="needs you"),
            event(EventKind.ATTENTION, text="needs you"),
        ),
        (line("SessionEnd", reason="other"), event(EventKind.SESSION_ENDED, text="other")),
    ],
)
def test_a_hook_event_is_read_in_our_words(given: bytes, expected: AgentEvent) -> None:
    assert read_event(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        line("PreToolUse", **BASH),
        line("SomethingNew"),
        line("Notification", notification_type="idle_prompt", message="waiting for your input"),
        b'{"phalanx_launch":true}',
    ],
)
def test_what_nobody_needs_is_left_out(given: bytes) -> None:
    assert read_event(given) is None


@pytest.mark.parametrize("given", [line("Stop")[:-9], b"\xff\xfe", b"[1]", b"null"])
def test_a_torn_line_is_an_error(given: bytes) -> None:
    with pytest.raises(ValueError):
        read_event(given)


def test_fields_of_an_unexpected_type_are_left_out() -> None:
    assert read_event(line("Stop", last_assistant_message=None)) == event(EventKind.TURN_ENDED)
    assert read_event(line("PermissionRequest", tool_name=3, tool_input=[])) == event(EventKind.PERMISSION_REQUESTED)
