"""The command line about the team as a whole: up, down, status, and taking it up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.errors import TeamNotRunningError
from actors.status import Status
from mcp_entry.cli import team
from supervisor.api import results
from tests.fakes.gateway import REPLIES, FakeClient, info, listing
from tests.fakes.terminal import HOME, HalfARuntime, RunningRuntime, Terminal


def a_status(**changes: Any) -> results.StatusResult:
    status = REPLIES["status"]
    assert isinstance(status, results.StatusResult)
    return status.model_copy(update=changes)


def test_up_offers_to_start_again_those_that_were_alive() -> None:
    terminal = Terminal(FakeClient(status=a_status(resumable=["spec_1_1_1", "spec_1_1_2"])))
    ended = terminal("up")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[1] == (
        "2 instances were alive when the team ended last: `phalanx up --resume` starts them again with their "
        "conversations."
    )
    assert json.loads(terminal("up", "--json").stdout)["resumable"] == ["spec_1_1_1", "spec_1_1_2"]
    terminal.runtime = RunningRuntime
    assert "2 instances were alive until their agents ended:" in terminal("up").stdout


def test_up_of_a_team_that_runs_names_the_settings_that_it_does_not_know_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(team, "waiting_settings", lambda *_: ["agent", "cache_size"])
    assert "not for this team" not in terminal("up").stdout
    terminal.runtime = RunningRuntime
    assert "not for this team before `phalanx down` and `phalanx up`: agent, cache_size." in terminal("up").stdout
    assert json.loads(terminal("up", "--json").stdout)["waitingSettings"] == ["agent", "cache_size"]


def test_up_says_that_the_program_of_the_agents_is_missing(tmp_path: Path) -> None:
    terminal = Terminal()
    terminal.environment["PATH"] = str(tmp_path)
    assert (
        terminal("up").stdout.splitlines()[-1].startswith("Claude Code (claude) is not found: no instance can start.")
    )
    terminal.environment["PHALANX_AGENT"] = "demo"
    assert "not found" not in terminal("up").stdout
    del terminal.environment["PHALANX_AGENT"]
    (tmp_path / "claude").touch(mode=0o755)
    assert "not found" not in terminal("up").stdout


def test_up_offers_nothing_where_nobody_was_alive() -> None:
    terminal = Terminal()
    assert "--resume" not in terminal("up").stdout
    assert "resume" not in [verb for verb, _ in terminal.client.asked]  # type: ignore[union-attr]


def test_up_with_resume_says_what_became_of_each_and_ends_with_1_when_one_did_not_start() -> None:
    reply = results.ResumeResult(
        success=False,
        instances=[
            results.ResumedInstance(instance_id="spec_1_1_1", status=Status.READY, resumed=True),
            results.ResumedInstance(instance_id="spec_1_1_2", status=Status.READY, resumed=False),
            results.ResumedInstance(
                instance_id="spec_1_1_3",
                status=Status.FAILED,
                resumed=False,
                error=results.ErrorInfo(code="agent", message="It ended \x1b[2J at once."),
            ),
        ],
    )
    terminal = Terminal(FakeClient(resume=reply, status=a_status(resumable=["spec_1_1_3"])))
    ended = terminal("up", "--resume")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[1:5] == [
        "2 of 3 instances were started again.",
        "spec_1_1_1 is ready; its conversation goes on.",
        "spec_1_1_2 is ready; it had no conversation yet.",
        "spec_1_1_3 was not started again: It ended ␛[2J at once. (agent)",
    ]
    document = json.loads(terminal("up", "--resume", "--json").stdout)
    assert document["resumable"] == ["spec_1_1_3"]
    assert [each["error"] is None for each in document["resumed"]] == [True, True, False]


def test_up_with_resume_and_nobody_to_start_is_no_failure() -> None:
    ended = Terminal(FakeClient(resume=results.ResumeResult(success=True, instances=[])))("up", "--resume")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[1] == "There was no instance to start again."


def test_status_and_list_show_what_is_wrong_with_the_team_itself() -> None:
    warning = "Redis at db:6379 is away; \x1b[2J the state is kept in the home."
    status = a_status(store="SQLite, Redis (away)", warnings=[warning], resumable=["spec_1_1_3"])
    client = FakeClient(
        status=status,
        list=listing(info()).model_copy(update={"warnings": [warning]}),
    )
    shown = "Warning: Redis at db:6379 is away; ␛[2J the state is kept in the home."
    said = Terminal(client)("status").stdout
    assert shown in said.splitlines()
    assert "SQLite, Redis (away)" in said
    assert "spec_1_1_3" in said
    assert "`phalanx up --resume` starts them again" in said
    assert Terminal(client)("list").stdout.splitlines()[0] == shown
    empty = FakeClient(list=listing().model_copy(update={"warnings": [warning]}))
    assert Terminal(empty)("list").stdout.splitlines()[0] == shown


def test_up_tells_its_steps_and_why_it_failed() -> None:
    terminal = Terminal()
    ended = terminal("up")
    assert (ended.exit_code, ended.stderr) == (0, "starting Ray\n")
    terminal.environment["BROKEN"] = "1"
    ended = terminal("up")
    assert (ended.exit_code, ended.stderr) == (1, "starting Ray\ntmux is missing. Install it.\n")


def test_down_says_what_stays_and_works_with_settings_that_do_not() -> None:
    terminal = Terminal()
    terminal.environment["MAX_CONCURRENT_SPAWNS"] = "no number"
    assert terminal("up").exit_code == 1
    ended = terminal("down")
    assert ended.exit_code == 0
    assert ended.stdout.splitlines() == [
        "spec_1_1_1: 2 commits are not merged",
        f"The team in {HOME} is down: 1 processes ended.",
    ]


def test_status_says_what_is_missing_of_a_team_that_is_partly_there() -> None:
    terminal = Terminal(TeamNotRunningError("No team runs here."))
    terminal.runtime = HalfARuntime
    ended = terminal("status")
    assert ended.exit_code == 1
    assert "the supervisor does not answer. `phalanx up` brings it back" in ended.stderr
