from __future__ import annotations

from pathlib import Path

import pytest

from actors.agents.base import EntryKind
from actors.agents.claude_records import read_transcript
from actors.agents.demo.records import TranscriptWriter

AWKWARD = 'a\u2028b\n\\ " 日本 [Request interrupted by user]'


@pytest.fixture
def transcript(tmp_path: Path) -> TranscriptWriter:
    return TranscriptWriter(tmp_path / "t" / "s.jsonl", "s", tmp_path)


def read(transcript: TranscriptWriter) -> list[tuple[EntryKind, str, bool]]:
    lines = [line for line in transcript.path.read_bytes().split(b"\n") if line]
    return [(entry.kind, entry.text, entry.interrupted) for line in lines for entry in read_transcript(line)]


def test_what_the_demo_writes_reads_like_the_real_transcript(transcript: TranscriptWriter) -> None:
    transcript.prompt(AWKWARD, "typed")
    transcript.queued("q")
    call = transcript.tool_call("Bash", {"command": "ls"})
    transcript.tool_result(call, "ran", error=False)
    transcript.injected("q")
    transcript.answer("done")
    transcript.failure("API Error", "rate_limit", 429)
    transcript.interrupted(during_tool=True)

    assert read(transcript) == [
        (EntryKind.QUESTION, AWKWARD, False),
        (EntryKind.TOOL_CALL, "", False),
        (EntryKind.TOOL_RESULT, "ran", False),
        (EntryKind.QUESTION, "q", False),
        (EntryKind.ANSWER, "done", False),
        (EntryKind.NOTICE, "API Error", False),
        (EntryKind.NOTICE, "[Request interrupted by user for tool use]", True),
    ]


def test_the_conversation_so_far_is_found_again(transcript: TranscriptWriter) -> None:
    transcript.prompt("one\u2028", "typed")
    transcript.tool_call("Bash", {})
    transcript.answer("two")

    assert transcript.exchanges() == [("user", "one\u2028"), ("agent", "two")]
