"""What of an instance's private directory belongs to one conversation, and goes with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.agents.hook import SPOOL_NAME
from actors.agents.launch import renew
from actors.errors import AgentError
from actors.instance.journal import JOURNAL_NAME


def begun(directory: Path, session_id: str) -> Path:
    launch = directory / "launch-request.json"
    launch.write_text(json.dumps({"request": {"session_id": session_id, "system_prompt": "first", "model": "m"}}))
    for name in (JOURNAL_NAME, SPOOL_NAME):
        (directory / name).write_text("of the conversation before")
    return launch


def test_another_conversation_begins_with_its_prompt_and_nothing_of_the_one_before(tmp_path: Path) -> None:
    launch = begun(tmp_path, "old")
    renew(launch, "new", "with a summary")
    request = json.loads(launch.read_text())["request"]
    assert request == {"session_id": "new", "system_prompt": "with a summary", "model": "m"}
    assert [each.name for each in tmp_path.iterdir()] == [launch.name]


def test_the_same_conversation_keeps_what_is_noted_of_it(tmp_path: Path) -> None:
    launch = begun(tmp_path, "same")
    renew(launch, "same", "with a summary")
    assert {each.name for each in tmp_path.iterdir()} == {launch.name, JOURNAL_NAME, SPOOL_NAME}


def test_who_was_never_started_cannot_be_renewed(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="never started"):
        renew(tmp_path / "launch-request.json", "new", "")
