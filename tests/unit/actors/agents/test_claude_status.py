"""Claude Code's own status file, read for the process that runs the test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import ReportedStatus
from actors.agents.claude_records import StatusFile


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    directory = tmp_path / "sessions"
    directory.mkdir()
    return directory


def write(sessions: Path, **fields: Any) -> None:
    own = {"status": "waiting", "waitingFor": "dialog open", "sessionId": "a-1", **fields}
    (sessions / "new").write_text(json.dumps(own))
    (sessions / "new").replace(sessions / f"{os.getpid()}.json")


def started() -> str:
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


@pytest.fixture
def file(sessions: Path) -> StatusFile:
    return StatusFile(os.getpid(), sessions.parent)


def test_it_tells_the_status_and_what_is_waited_for(sessions: Path, file: StatusFile) -> None:
    assert file.read() is None
    write(sessions, procStart=started())
    assert file.read() == ReportedStatus(session_id="a-1", status="waiting", waiting_for="dialog open")
    write(sessions, status="idle", waitingFor=None)
    assert file.read() == ReportedStatus(session_id="a-1", status="idle")


@pytest.mark.parametrize("fields", [{"status": "dreaming"}, {"status": None}, {"procStart": "1"}])
def test_what_it_does_not_know_or_of_another_process_says_nothing(
    sessions: Path, file: StatusFile, fields: dict[str, Any]
) -> None:
    write(sessions, **fields)
    assert file.read() is None


def test_a_file_that_is_no_json_or_gone_says_nothing(sessions: Path, file: StatusFile) -> None:
    path = sessions / f"{os.getpid()}.json"
    path.write_text("{")
    assert file.read() is None
    write(sessions)
    assert file.read() is not None
    path.unlink()
    assert file.read() is None


def test_a_process_that_is_gone_says_nothing() -> None:
    assert StatusFile(2**22 + 1).read() is None


def test_the_transcript_of_a_conversation_is_found_by_its_id(sessions: Path, file: StatusFile) -> None:
    write(sessions)
    file.read()
    project = sessions.parent / "projects" / "-tmp-x"
    project.mkdir(parents=True)
    (project / "a-1.jsonl").write_text("")
    assert file.transcript_of("a-1") == str(project / "a-1.jsonl")
    assert file.transcript_of("b-2") == ""
    assert file.transcript_of("*") == ""
