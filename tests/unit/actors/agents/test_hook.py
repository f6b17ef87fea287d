from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from actors.agents.claude_records import read_event
from actors.agents.hook import KNOCK_NAME, SPOOL_NAME, TELL_NAME, context, record


def payload(event: str, **fields: Any) -> bytes:
    data = {"session_id": "s", "hook_event_name": event, **fields}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def spooled(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / SPOOL_NAME).read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line]


def test_an_event_becomes_one_line_with_its_time(tmp_path: Path) -> None:
    prompt = 'a\u2028b "phalanx_at":1 \\ 日本'
    assert record(str(tmp_path), "UserPromptSubmit", payload("UserPromptSubmit", prompt=prompt), 7)

    (event,) = spooled(tmp_path)
    assert event["prompt"] == prompt
    assert 1.7e9 < event["phalanx_at"] < 1e10
    assert stat.S_IMODE((tmp_path / SPOOL_NAME).stat().st_mode) == 0o600


def test_a_prompt_is_kept_whole_however_long(tmp_path: Path) -> None:
    prompt = "x" * 1_000_000
    record(str(tmp_path), "UserPromptSubmit", payload("UserPromptSubmit", prompt=prompt), 7)

    assert spooled(tmp_path)[0]["prompt"] == prompt


def test_an_event_after_a_torn_line_is_still_readable(tmp_path: Path) -> None:
    (tmp_path / SPOOL_NAME).write_bytes(b'{"hook_event_name":"St')
    record(str(tmp_path), "Stop", payload("Stop"), 7)

    assert json.loads((tmp_path / SPOOL_NAME).read_bytes().split(b"\n")[1])["hook_event_name"] == "Stop"


def test_json_that_is_broken_over_lines_becomes_one_line(tmp_path: Path) -> None:
    pretty = json.dumps({"hook_event_name": "Stop", "session_id": "s"}, indent=2).replace("{\n  ", "{").encode()
    record(str(tmp_path), "Stop", pretty + b"\n", 7)

    assert spooled(tmp_path)[0]["session_id"] == "s"


@pytest.mark.parametrize("junk", [b"", b"{}", b"null", b"[1]", b"Traceback", b'{"a":1'])
def test_what_is_no_event_is_not_written(tmp_path: Path, junk: bytes) -> None:
    assert not record(str(tmp_path), "Stop", junk, 7)
    assert not (tmp_path / SPOOL_NAME).exists()


def test_a_long_tool_response_is_left_out_and_the_input_kept(tmp_path: Path) -> None:
    fields = {"tool_name": "Read", "tool_input": {"file_path": "/a"}, "tool_response": {"content": "x" * 100_000}}
    record(str(tmp_path), "PostToolUse", payload("PostToolUse", **fields), 7)

    (event,) = spooled(tmp_path)
    assert (event["tool_name"], event["tool_input"]) == ("Read", {"file_path": "/a"})
    assert (tmp_path / SPOOL_NAME).stat().st_size < 1000


@pytest.mark.parametrize("event", ["PostToolUse", "PostToolUseFailure"])
def test_a_long_tool_input_is_left_out_too_and_the_event_says_so(tmp_path: Path, event: str) -> None:
    fields = {"tool_name": "Write", "tool_input": {"content": '","tool_response":' * 10_000}, "tool_use_id": "t"}
    record(str(tmp_path), event, payload(event, **fields), 7)

    read = read_event((tmp_path / SPOOL_NAME).read_bytes().strip())
    assert read is not None
    assert (read.tool, read.tool_input, read.slimmed) == ("Write", {}, True)


def test_a_permission_request_keeps_its_input_and_gets_its_id(tmp_path: Path) -> None:
    fields = {"tool_name": "Write", "tool_input": {"content": "x" * 50_000}}
    record(str(tmp_path), "PermissionRequest", payload("PermissionRequest", **fields), 7, "ab12")

    event = read_event((tmp_path / SPOOL_NAME).read_bytes().strip())
    assert event is not None
    assert (event.request_id, event.tool_input) == ("ab12", fields["tool_input"])


def test_every_event_knocks_at_the_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KNOCK_NAME)
    listener = os.open(tmp_path / KNOCK_NAME, os.O_RDONLY | os.O_NONBLOCK)
    record(str(tmp_path), "Stop", payload("Stop"), 7)

    assert os.read(listener, 10) == b"k"
    os.close(listener)


def test_nobody_needs_to_listen(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KNOCK_NAME)
    holder = os.open(tmp_path / KNOCK_NAME, os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(holder, b"k" * 4096):
            continue

    assert record(str(tmp_path), "Stop", payload("Stop"), 7)
    os.close(holder)


def test_a_directory_that_is_gone_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        record(str(tmp_path / "gone"), "Stop", payload("Stop"), 7)


def test_what_a_spare_is_to_be_told_is_told_once_and_again_when_its_conversation_begins_anew(tmp_path: Path) -> None:
    assert context(str(tmp_path)) == b""
    (tmp_path / TELL_NAME).write_bytes(b"who you are\n")
    assert context(str(tmp_path)) == b"who you are\n"
    assert context(str(tmp_path)) == b""
    record(str(tmp_path), "SessionStart", payload("SessionStart", source="resume"), 7)
    assert context(str(tmp_path)) == b""
    for source in ("clear", "compact"):
        record(str(tmp_path), "SessionStart", payload("SessionStart", source=source), 7)
        assert context(str(tmp_path)) == b"who you are\n"
        assert context(str(tmp_path)) == b""
