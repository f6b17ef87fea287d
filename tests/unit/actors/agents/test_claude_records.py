from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import AgentEvent, ConversationItem, EntryKind, EventKind, ReportedStatus, TokenUse
from actors.agents.claude_records import StatusFile, read_event, read_transcript

BASH = {"tool_name": "Bash", "tool_input": {"command": "ls"}}
AT = "2026-11-23T22:18:32.028Z"
USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 2,
    "service_tier": "standard",
}
TOKENS = TokenUse(input_tokens=10, output_tokens=5, cache_read_tokens=3, cache_creation_tokens=2)
AWKWARD = " lead\n\n\u2028tab    $(x) `y` \\ [Request interrupted by user]\n❯ 1. Yes\n"
INTERRUPTED = "[Request interrupted by user]"


def hooked(name: str, **fields: Any) -> bytes:
    common = {"phalanx_at": 12.5, "session_id": "s1", "transcript_path": "/t.jsonl", "hook_event_name": name}
    return json.dumps({**common, **fields}).encode()


def event(kind: EventKind, **fields: Any) -> AgentEvent:
    return AgentEvent(kind=kind, at=12.5, session_id="s1", transcript_path="/t.jsonl", **fields)


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "timestamp": AT, "isSidechain": False, **fields}, ensure_ascii=False).encode()


def user(content: Any, **fields: Any) -> bytes:
    return line("user", message={"role": "user", "content": content}, **fields)


def assistant(*blocks: Any, **fields: Any) -> bytes:
    message = {"id": "msg_1", "role": "assistant", "content": list(blocks), "usage": USAGE}
    return line("assistant", message=message, **fields)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def attached(**attachment: Any) -> bytes:
    return line("attachment", attachment={"type": "queued_command", **attachment})


def item(kind: EntryKind, words: str, **fields: Any) -> ConversationItem:
    return ConversationItem(kind=kind, at=AT, text=words, **fields)


def answered(kind: EntryKind, words: str, **fields: Any) -> ConversationItem:
    return item(kind, words, answer_id="msg_1", tokens=TOKENS, **fields)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (hooked("SessionStart", source="resume"), event(EventKind.SESSION_STARTED, source="resume")),
        (hooked("UserPromptSubmit", prompt=" a\n\u2028b "), event(EventKind.PROMPT_SUBMITTED, text=" a\n\u2028b ")),
        (hooked("UserPromptSubmit", prompt="half \ud83d"), event(EventKind.PROMPT_SUBMITTED, text="half ?")),
        (
            hooked("PermissionRequest", **BASH, phalanx_request_id="ab"),
            event(EventKind.PERMISSION_REQUESTED, tool="Bash", tool_input={"command": "ls"}, request_id="ab"),
        ),
        (hooked("PermissionRequest", tool_name=3, tool_input=[]), event(EventKind.PERMISSION_REQUESTED)),
        (
            hooked("PostToolUse", **BASH, tool_response={"stdout": ""}),
            event(EventKind.TOOL_USED, tool="Bash", tool_input={"command": "ls"}),
        ),
        (
            hooked("PostToolUseFailure", **BASH, error="Exit code 1"),
            event(EventKind.TOOL_USED, tool="Bash", tool_input={"command": "ls"}),
        ),
        (
            hooked("PostToolUse", tool_name="Bash", phalanx_slimmed=True),
            event(EventKind.TOOL_USED, tool="Bash", slimmed=True),
        ),
        (hooked("Stop", last_assistant_message="done"), event(EventKind.TURN_ENDED, text="done")),
        (hooked("Stop", last_assistant_message=None), event(EventKind.TURN_ENDED)),
        (hooked("Stop", background_tasks=[{"type": "shell"}]), event(EventKind.TURN_ENDED)),
        (hooked("Stop", background_tasks=[{"type": "agent"}]), event(EventKind.TURN_ENDED, in_background=True)),
        (
            hooked("StopFailure", error="rate_limit", last_assistant_message="API Error: 429"),
            event(EventKind.TURN_FAILED, text="API Error: 429", rate_limited=True),
        ),
        (hooked("StopFailure", error="server_error"), event(EventKind.TURN_FAILED, text="server_error")),
        (
            hooked("Notification", notification_type="permission_prompt", message="needs you"),
            event(EventKind.ATTENTION, text="needs you"),
        ),
        (hooked("SessionEnd", reason="other"), event(EventKind.SESSION_ENDED, text="other")),
        (hooked("PreToolUse", **BASH), None),
        (hooked("SomethingNew"), None),
        (b'{"phalanx_launch":true}', None),
    ],
)
def test_a_hook_event_is_read_in_our_words_and_what_nobody_needs_is_left_out(
    given: bytes, expected: AgentEvent | None
) -> None:
    assert read_event(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(user(AWKWARD, origin={"kind": "human"}), item(EntryKind.QUESTION, AWKWARD), id="a prompt"),
        pytest.param(user(INTERRUPTED), item(EntryKind.QUESTION, INTERRUPTED), id="a person's own words"),
        pytest.param(user([text("typed")]), item(EntryKind.QUESTION, "typed"), id="a prompt in blocks"),
        pytest.param(
            user([text(INTERRUPTED)]), item(EntryKind.NOTICE, INTERRUPTED, interrupted=True), id="an interrupt"
        ),
        pytest.param(
            user([text("[Request interrupted by user for tool use]")]),
            item(EntryKind.NOTICE, "[Request interrupted by user for tool use]", interrupted=True),
            id="an interrupt of a tool",
        ),
        pytest.param(
            attached(prompt=AWKWARD, commandMode="prompt"),
            item(EntryKind.QUESTION, AWKWARD),
            id="a message taken into the turn under way",
        ),
        pytest.param(
            assistant({"type": "thinking", "thinking": "hm"}, text("yes")),
            answered(EntryKind.ANSWER, "yes"),
            id="an answer with its tokens and the id that groups it",
        ),
        pytest.param(
            assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}),
            answered(EntryKind.TOOL_CALL, "", tool="Bash", tool_input={"command": "ls"}),
            id="a tool call",
        ),
        pytest.param(
            user([{"type": "tool_result", "tool_use_id": "t1", "content": [text("a"), text("b")]}]),
            item(EntryKind.TOOL_RESULT, "a\nb"),
            id="a tool result",
        ),
        pytest.param(
            user([{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]),
            item(EntryKind.TOOL_RESULT, "a"),
            id="a tool result without blocks",
        ),
        pytest.param(
            assistant(text("API Error: 500"), isApiErrorMessage=True, error="server_error", apiErrorStatus=500),
            answered(EntryKind.NOTICE, "API Error: 500"),
            id="an API error",
        ),
        pytest.param(
            user("<command-name>/mcp</command-name>"),
            item(EntryKind.NOTICE, "<command-name>/mcp</command-name>"),
            id="a slash command",
        ),
        pytest.param(
            user("<bash-input>ls</bash-input>"),
            item(EntryKind.NOTICE, "<bash-input>ls</bash-input>"),
            id="a command of the shell",
        ),
        pytest.param(
            line("system", subtype="compact_boundary", content="Conversation compacted"),
            item(EntryKind.NOTICE, "Conversation compacted"),
            id="a compaction",
        ),
        pytest.param(
            line(
                "system",
                subtype="informational",
                content="UserPromptSubmit operation blocked by hook:\nno\n  way\n\nOriginal prompt: do\nit",
            ),
            item(EntryKind.NOTICE, "a hook for UserPromptSubmit has refused it: no way", refused="do\nit"),
            id="a refused prompt",
        ),
    ],
)
def test_a_line_of_the_transcript_is_an_item_of_the_conversation(given: bytes, expected: ConversationItem) -> None:
    assert read_transcript(given) == (expected,)


@pytest.mark.parametrize(
    "given",
    [
        user("a subagent's prompt", isSidechain=True),
        user("a reminder", isMeta=True),
        user("This session is being continued…", isCompactSummary=True),
        line("attachment", attachment={"type": "skill_listing", "content": "…"}),
        attached(prompt="ls", commandMode="bash"),
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


@pytest.mark.parametrize("given", [hooked("Stop")[:-9], b"\xff\xfe", b"[1]", b"null", b"3"])
def test_a_torn_line_is_an_error(given: bytes) -> None:
    for read in (read_event, read_transcript):
        with pytest.raises(ValueError):
            read(given)


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    directory = tmp_path / "sessions"
    directory.mkdir()
    return directory


@pytest.fixture
def file(sessions: Path) -> StatusFile:
    """The status file of the process that runs the test."""
    return StatusFile(os.getpid(), sessions.parent)


def write(sessions: Path, **fields: Any) -> None:
    own = {"status": "waiting", "waitingFor": "dialog open", "sessionId": "a-1", **fields}
    (sessions / "new").write_text(json.dumps(own))
    (sessions / "new").replace(sessions / f"{os.getpid()}.json")


def test_the_status_file_tells_the_status_and_what_is_waited_for(sessions: Path, file: StatusFile) -> None:
    assert file.read() is None
    write(sessions, procStart=Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert file.read() == ReportedStatus(session_id="a-1", status="waiting", waiting_for="dialog open")
    write(sessions, status="idle", waitingFor=None)
    assert file.read() == ReportedStatus(session_id="a-1", status="idle")
    (sessions / f"{os.getpid()}.json").unlink()
    assert file.read() is None


@pytest.mark.parametrize("fields", [{"status": "dreaming"}, {"status": None}, {"procStart": "1"}])
def test_a_status_that_is_not_known_or_of_another_process_says_nothing(
    sessions: Path, file: StatusFile, fields: dict[str, Any]
) -> None:
    write(sessions, **fields)
    assert file.read() is None


def test_a_status_file_that_is_no_json_or_of_a_process_that_is_gone_says_nothing(
    sessions: Path, file: StatusFile
) -> None:
    (sessions / f"{os.getpid()}.json").write_text("{")
    assert file.read() is None
    assert StatusFile(2**22 + 1).read() is None


def test_the_transcript_of_a_conversation_is_found_by_its_id(sessions: Path, file: StatusFile) -> None:
    project = sessions.parent / "projects" / "-tmp-x"
    project.mkdir(parents=True)
    (project / "a-1.jsonl").write_text("")
    assert file.transcript_of("a-1") == str(project / "a-1.jsonl")
    assert (file.transcript_of("b-2"), file.transcript_of("*")) == ("", "")
