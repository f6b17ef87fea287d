"""The entry and the team that it brings up: real runtime, real Ray, real tmux."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import end_processes, processes_with
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from supervisor.team.file import read_team
from tests.integration.mcp_entry.conftest import PROMPTLY_S, EntryProcess, StartEntry

pytestmark = pytest.mark.timeout(240)
INSTALLED = str(Path(sys.executable).with_name("phalanx-mcp"))


@pytest.fixture
def intruder(short_tmp: Path) -> Path:
    """A project with packages named like ours."""
    project = short_tmp / "project"
    for package in ("supervisor", "actors", "mcp_entry"):
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").write_text("raise SystemExit('the intruder was imported')\n")
    return project


def begin_team(entry: EntryProcess) -> None:
    """By the call that acts and does least."""
    assert not entry.call("optimize_settings").get("isError")


def test_why_the_team_cannot_come_up_is_told_by_the_call_and_by_the_next(
    start_entry: StartEntry, intruder: Path, short_tmp: Path
) -> None:
    entry = start_entry(INSTALLED, directory=intruder, PATH=str(short_tmp))
    entry.initialize()
    for _ in range(2):
        result = entry.call("send", instanceId="spec_0_0_1", message="hello")
        assert result["isError"]
        assert "tmux is missing" in result["content"][0]["text"]
        assert "phalanx doctor" in result["content"][0]["text"]
    log = short_tmp / "home" / "logs" / "up.log"
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_team_that_an_entry_brought_up_outlives_it_and_is_found_by_the_next_which_brings_it_up_again_after_a_down(
    start_entry: StartEntry, intruder: Path, short_tmp: Path
) -> None:
    home = Home(short_tmp / "home")
    runtime = Runtime(home, Settings())
    try:
        first = start_entry(INSTALLED, directory=intruder)
        first.initialize()
        begin_team(first)
        assert first.call("list")["structuredContent"]["instances"] == []
        first.end_input()
        assert first.exit_code(PROMPTLY_S) == 0
        assert runtime.state().kind == "running"

        second = start_entry(INSTALLED, directory=intruder)
        second.initialize()
        assert not second.call("list").get("isError")
        assert (home.logs / "up.log").read_text().count("the team is up") == 1

        runtime.down()
        assert runtime.state().kind == "stopped"
        assert second.call("list")["isError"]
        begin_team(second)
    finally:
        runtime.down()


def test_of_many_entries_one_brings_a_lost_team_back_and_all_go_on(start_entry: StartEntry, short_tmp: Path) -> None:
    home = Home(short_tmp / "home")
    runtime = Runtime(home, Settings())
    try:
        entries = [start_entry(INSTALLED) for _ in range(3)]
        for entry in entries:
            entry.initialize()
            begin_team(entry)
        team = read_team(home)
        assert team is not None
        end_processes(processes_with(TEAM_MARK, team.team_id), grace_s=0)

        asked = [entry.begin("tools/call", name="list", arguments={}) for entry in entries]
        answers = [entry.answer(number)["result"] for entry, number in zip(entries, asked, strict=True)]

        assert not any(answer.get("isError") for answer in answers)
        assert runtime.state().kind == "running"
        said = (home.logs / "up.log").read_text()
        assert said.count("starting Ray") == 2  # the first time, and once after the loss
    finally:
        runtime.down()
