from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import AgentEvent
from actors.agents.claude_records import read_event
from actors.agents.hook import record
from actors.agents.spool import KNOCK_NAME, SPOOL_NAME, TELL_NAME, context


def payload(event: str, **fields: Any) -> bytes:
    data = {"session_id": "s", "hook_event_name": event, **fields}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def recorded(directory: Path, event: str, request_id: str = "", **fields: Any) -> AgentEvent:
    """The event as it is read from the spool."""
    assert record(str(directory), event, payload(event, **fields), 7, request_id)
    read = read_event((directory / SPOOL_NAME).read_bytes().strip())
    assert read
    return read


@pytest.mark.parametrize("prompt", ['a\u2028b "phalanx_at":1 \\ 日本', "x" * 1_000_000], ids=["awkward", "long"])
def test_a_prompt_is_kept_whole_with_its_time(tmp_path: Path, prompt: str) -> None:
    event = recorded(tmp_path, "UserPromptSubmit", prompt=prompt)
    assert (event.text, event.agent_pid) == (prompt, 7)
    assert 1.7e9 < event.at < 1e10
    assert stat.S_IMODE((tmp_path / SPOOL_NAME).stat().st_mode) == 0o600


def test_an_event_is_one_line_even_after_a_torn_one_and_when_its_json_was_broken_over_lines(tmp_path: Path) -> None:
    (tmp_path / SPOOL_NAME).write_bytes(b'{"hook_event_name":"St')
    pretty = json.dumps({"hook_event_name": "Stop", "session_id": "s"}, indent=2).replace("{\n  ", "{").encode()
    record(str(tmp_path), "Stop", pretty + b"\n", 7)

    assert json.loads((tmp_path / SPOOL_NAME).read_bytes().split(b"\n")[1])["session_id"] == "s"


@pytest.mark.parametrize("junk", [b"", b"{}", b"null", b"[1]", b"Traceback", b'{"a":1'])
def test_what_is_no_event_is_not_written(tmp_path: Path, junk: bytes) -> None:
    assert not record(str(tmp_path), "Stop", junk, 7)
    assert not (tmp_path / SPOOL_NAME).exists()


def test_a_long_tool_response_is_left_out_and_the_input_kept(tmp_path: Path) -> None:
    asked = {"file_path": "/a"}
    event = recorded(tmp_path, "PostToolUse", tool_name="Read", tool_input=asked, tool_response="x" * 100_000)

    assert (event.tool, event.tool_input, event.slimmed) == ("Read", asked, False)
    assert (tmp_path / SPOOL_NAME).stat().st_size < 1000


@pytest.mark.parametrize("name", ["PostToolUse", "PostToolUseFailure"])
def test_a_long_tool_input_is_left_out_too_and_the_event_says_so(tmp_path: Path, name: str) -> None:
    asked = {"content": '","tool_response":' * 10_000}
    event = recorded(tmp_path, name, tool_name="Write", tool_input=asked, tool_use_id="t")

    assert (event.tool, event.tool_input, event.slimmed) == ("Write", {}, True)


def test_a_permission_request_keeps_its_input_and_gets_its_id(tmp_path: Path) -> None:
    asked = {"content": "x" * 50_000}
    event = recorded(tmp_path, "PermissionRequest", "ab12", tool_name="Write", tool_input=asked)

    assert (event.request_id, event.tool_input) == ("ab12", asked)


def test_every_event_knocks_at_the_fifo_and_nobody_needs_to_listen(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KNOCK_NAME)
    listener = os.open(tmp_path / KNOCK_NAME, os.O_RDWR | os.O_NONBLOCK)
    recorded(tmp_path, "Stop")
    assert os.read(listener, 10) == b"k"

    with contextlib.suppress(BlockingIOError):
        while os.write(listener, b"k" * 4096):
            continue
    assert record(str(tmp_path), "Stop", payload("Stop"), 7)
    os.close(listener)


def test_a_directory_that_is_gone_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        record(str(tmp_path / "gone"), "Stop", payload("Stop"), 7)


def test_what_a_spare_is_to_be_told_is_told_once_and_again_when_its_conversation_begins_anew(tmp_path: Path) -> None:
    assert context(str(tmp_path)) == b""
    (tmp_path / TELL_NAME).write_bytes(who := b"who you are\n")
    for source, told in (("startup", who), ("resume", b""), ("clear", who), ("compact", who)):
        record(str(tmp_path), "SessionStart", payload("SessionStart", source=source), 7)
        assert [context(str(tmp_path)) for _ in range(2)] == [told, b""]
