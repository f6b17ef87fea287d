"""Whose events and whose status file an observer goes by: those of the agent in its pane, in its present life."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from actors.agents.base import ReportedStatus
from actors.agents.claude import ClaudeAgent
from actors.agents.hook import KNOCK_NAME, SPOOL_NAME
from actors.concurrency import ChangeNotifier
from actors.instance.observer import LAUNCH_MARK, Observer
from actors.status import Status
from actors.tmux.pane import Pane

PANE_PID = os.getpid()
EARLIER_PID = 111


@dataclass(frozen=True, slots=True)
class StatusFile:
    own: ReportedStatus | None
    transcripts: dict[str, str]

    def read(self) -> ReportedStatus | None:
        return self.own

    def transcript_of(self, session_id: str) -> str:
        return self.transcripts.get(session_id, "")


@dataclass(frozen=True, slots=True)
class Agent(ClaudeAgent):
    """Which processes write what of their status."""

    files: dict[int, ReportedStatus] = field(default_factory=dict)
    transcripts: dict[str, str] = field(default_factory=dict)

    def status_file(self, pid: int) -> StatusFile:  # type: ignore[override]
        return StatusFile(self.files.get(pid), self.transcripts)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / KNOCK_NAME)
    return tmp_path


def observer(directory: Path, agent: Agent) -> Observer:
    return Observer(agent, cast("Pane", None), directory, "one", PANE_PID, ChangeNotifier())


def an_agent(files: dict[int, str], transcripts: dict[str, str] | None = None) -> Agent:
    """``files``: the session that each process says it is in."""
    says = {pid: ReportedStatus(session_id=session, status="idle") for pid, session in files.items()}
    return Agent(command="claude", python="python", files=says, transcripts=transcripts or {})


def spool(directory: Path, *lines: bytes) -> None:
    with (directory / SPOOL_NAME).open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


def event(name: str, pid: int, session: str = "one", **fields: Any) -> bytes:
    return json.dumps({"hook_event_name": name, "session_id": session, "phalanx_pid": pid, **fields}).encode()


def started(pid: int, session: str = "one", source: str = "startup") -> bytes:
    return event("SessionStart", pid, session, source=source)


def test_the_status_file_of_the_life_that_runs_is_read_and_not_that_of_an_earlier_one(directory: Path) -> None:
    spool(directory, LAUNCH_MARK, started(EARLIER_PID), LAUNCH_MARK, started(PANE_PID, source="resume"))
    followed = observer(directory, an_agent({PANE_PID: "one"}))
    followed.read_spool()
    followed.witness()
    assert followed.state.own is not None


def test_where_a_program_starts_claude_code_the_status_file_is_that_of_claude_code(directory: Path) -> None:
    spool(directory, LAUNCH_MARK, started(4711))
    followed = observer(directory, an_agent({4711: "one"}))
    followed.read_spool()
    followed.witness()
    assert followed.state.own is not None


def test_a_conversation_that_no_hook_tells_of_is_read_all_the_same(directory: Path) -> None:
    transcript = directory / "one.jsonl"
    said = {"type": "user", "message": {"role": "user", "content": "[phalanx msg_1 from lead]\nhello"}}
    transcript.write_text(json.dumps({**said, "uuid": "u", "timestamp": "2026-01-01T00:00:00Z"}) + "\n")
    followed = observer(directory, an_agent({PANE_PID: "one"}, {"one": str(transcript)}))
    followed.witness()
    assert followed.conversation.path == transcript
    assert followed.evidence.has("msg_1")


def test_where_no_hook_tells_the_program_says_which_conversation_it_is_in(directory: Path) -> None:
    transcript = directory / "other.jsonl"
    transcript.touch()
    followed = observer(directory, an_agent({PANE_PID: "other"}, {"other": str(transcript)}))
    followed.witness()
    assert followed.state.session_id == "other"
    assert followed.conversation.path == transcript


def test_an_event_of_the_conversation_that_is_followed_counts_whichever_process_ran_the_hook(
    directory: Path,
) -> None:
    """As where hooks run in a wrapper that tells nothing of who started it."""
    spool(directory, LAUNCH_MARK, started(501), event("UserPromptSubmit", 502, prompt="hi"))
    followed = observer(directory, an_agent({}))
    followed.read_spool()
    assert followed.state.status is Status.BUSY


def test_a_claude_that_the_agent_itself_starts_is_not_followed(directory: Path) -> None:
    spool(directory, LAUNCH_MARK, started(PANE_PID), started(502, "nested"), event("UserPromptSubmit", 502, "nested"))
    followed = observer(directory, an_agent({}))
    followed.read_spool()
    assert followed.state.session_id == "one"
    assert followed.state.status is Status.STARTING
