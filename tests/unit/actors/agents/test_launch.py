from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.agents.base import Agent, Handover, Launch
from actors.agents.demo.agent import DemoAgent
from actors.agents.launch import LAUNCH_NAME, renew, tell, write_launch
from actors.agents.launcher import main, read_launch
from actors.agents.spool import SPOOL_NAME, TELL_NAME
from actors.errors import AgentError
from actors.instance.journal import JOURNAL_NAME


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "instances" / "spec_1"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_user_can_read_what_a_launch_writes_and_the_command_holds_no_secret(directory: Path) -> None:
    launch = Launch(argv=("agent", "-x"), environment={"KEY": "secret"}, files={directory / "settings.json": "{}"})
    command = write_launch(directory, launch, Path("/work dir"), python="/py")

    assert (command[:3], command[4]) == (("/py", "-I", "-S"), str(directory / LAUNCH_NAME))
    assert "secret" not in " ".join(command)
    assert read_launch((directory / LAUNCH_NAME).read_bytes())[3] == {b"KEY": b"secret"}
    assert (directory / "knock").is_fifo()

    directory.chmod(0o755)
    (directory / "settings.json").write_text("x" * 1000)
    (directory / "settings.json").chmod(0o644)
    write_launch(directory, launch, Path("/work dir"), python="/py")
    assert (directory / "settings.json").read_text() == "{}"
    assert (mode(directory), {mode(path) for path in directory.iterdir()}) == (0o700, {0o600})


@pytest.mark.parametrize("word", ["", "a\nb", "日本", "*", "\udcff"])
def test_every_word_that_a_process_can_be_given_is_read_as_it_was_written(directory: Path, word: str) -> None:
    launch = Launch(argv=("agent", word, ""), environment={"KEY": word, "": ""}, files={})
    write_launch(directory, launch, Path("/work"), python="/py")

    given = os.fsencode(word)
    cwd, command, _, added = read_launch((directory / LAUNCH_NAME).read_bytes())
    assert (cwd, command, added) == (b"/work", [b"agent", given, b""], {b"KEY": given, b"": b""})


@pytest.mark.parametrize("launch", [{"argv": ("a\0b",)}, {"argv": ("a",), "environment": {"A": "b\0c"}}])
def test_what_no_process_can_be_given_is_refused_before_anything_is_written(
    directory: Path, launch: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="zero byte"):
        write_launch(directory, Launch(**{"environment": {}, "files": {}, **launch}), Path("/work"), python="/py")
    assert not directory.exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"1 0 0\0/\0", b"1 0 0\0/\0cat", b"0 0 0\0/\0"])
def test_a_launch_file_that_is_none_is_reported_in_the_pane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / LAUNCH_NAME).write_bytes(content)

    assert main(str(tmp_path / LAUNCH_NAME)) == 126
    assert capsys.readouterr().out.startswith("phalanx: the launch file cannot be read")


def begun(directory: Path, session_id: str) -> Path:
    """The launch request of an instance that has begun this conversation, with its files beside."""
    request_file = directory / "launch-request.json"
    request_file.write_text(
        json.dumps({"agent": "demo", "request": {"session_id": session_id, "system_prompt": "first", "model": "m"}})
    )
    for name in (JOURNAL_NAME, SPOOL_NAME):
        (directory / name).write_text("of the conversation before")
    return request_file


def test_another_conversation_begins_with_its_prompt_and_nothing_of_the_one_before(tmp_path: Path) -> None:
    request_file = begun(tmp_path, "old")
    renew(request_file, "new", "with a summary")
    request = json.loads(request_file.read_text())["request"]
    assert request == {"session_id": "new", "system_prompt": "with a summary", "model": "m"}
    assert [each.name for each in tmp_path.iterdir()] == [request_file.name]


def test_the_same_conversation_keeps_what_is_noted_of_it(tmp_path: Path) -> None:
    request_file = begun(tmp_path, "same")
    renew(request_file, "same", "with a summary")
    assert {each.name for each in tmp_path.iterdir()} == {request_file.name, JOURNAL_NAME, SPOOL_NAME}


def test_who_was_never_started_cannot_be_renewed(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="never started"):
        renew(tmp_path / "launch-request.json", "new", "")


def test_an_agent_that_cannot_be_told_later_who_it_is_is_no_spare(tmp_path: Path) -> None:
    class Untellable(DemoAgent):
        introduction = Agent.introduction

    request_file = begun(tmp_path, "one")
    handover = Handover(place="spare_1", session_name="spare_1", instance_id="spec_1", identity="You are spec_1.")
    catalog: Any = SimpleNamespace(named=lambda _: Untellable("python"))
    before = request_file.read_text()
    with pytest.raises(AgentError, match="order no spares"):
        tell(tmp_path, request_file, handover, catalog)
    assert request_file.read_text() == before
    assert not (tmp_path / TELL_NAME).exists()
