"""The commands for the whole team: up, down, status, restore, and clearing away."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.errors import TeamNotRunningError
from actors.home import Home
from actors.status import Status
from mcp_entry.cli import team
from supervisor.api import requests, results
from supervisor.runtime import OnStep, TeamAddress
from supervisor.settings import Settings
from supervisor.team.file import TeamInfo, write_team
from tests.fakes.gateway import REPLIES, FakeClient, collected, info, listing
from tests.fakes.terminal import HOME, FakeRuntime, HalfARuntime, RunningRuntime, Terminal, program_ended


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


class InterruptedRuntime(FakeRuntime):
    def up(self, environment: Mapping[str, str], on_step: OnStep) -> TeamAddress:
        raise KeyboardInterrupt


def test_who_stops_a_bring_up_hears_of_a_team_that_goes_on_only_where_one_was(tmp_path: Path) -> None:
    terminal = Terminal()
    terminal.runtime = InterruptedRuntime
    assert terminal("up").stderr == "Stopped. What this command had started is ended again.\n"
    home = Home(tmp_path)
    write_team(home, TeamInfo(team_id="t1", version="1", started_at="now"))
    assert "the team that was there before goes on." in terminal("up", "--home", str(home.root)).stderr


def test_up_says_that_the_program_of_the_agents_is_missing(tmp_path: Path) -> None:
    terminal = Terminal()
    terminal.environment["PATH"] = str(tmp_path)
    words = "Claude Code (claude) is not found: only another agent can start, as with `phalanx spawn --agent demo`."
    assert terminal("up").stdout.splitlines()[-1].startswith(words)
    terminal.environment["PHALANX_AGENT"] = "demo"
    assert "not found" not in terminal("up").stdout
    del terminal.environment["PHALANX_AGENT"]
    (tmp_path / "claude").touch(mode=0o755)
    assert "not found" not in terminal("up").stdout


def test_up_misses_no_program_that_the_running_team_does_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    terminal.environment["PATH"] = str(tmp_path)
    monkeypatch.setattr(team, "kept_settings", lambda _: Settings(agent="demo"))
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
        f"The team in {HOME} is down: 1 process ended.",
    ]


def test_status_says_what_is_missing_of_a_team_that_is_partly_there() -> None:
    terminal = Terminal(TeamNotRunningError("No team runs here."))
    terminal.runtime = HalfARuntime
    ended = terminal("status")
    assert ended.exit_code == 1
    assert "the supervisor does not answer. `phalanx up` brings it back" in ended.stderr


def test_status_after_down_says_what_is_kept_and_how_to_begin_again(short_tmp: Path) -> None:
    home = Home(short_tmp / "home")
    home.create()
    home.state_file.touch()
    terminal = Terminal(TeamNotRunningError("No team runs here."))
    ended = terminal("status", "--home", str(home.root))
    assert ended.exit_code == 1
    assert f"its worktrees in {home.worktrees}" in " ".join(ended.stderr.split())
    assert "`phalanx up --resume` also starts those again" in " ".join(ended.stderr.split())


def test_gc_shows_what_goes_and_what_stays_and_how_to_get_saved_work_back() -> None:
    items = [
        collected("/home/worktrees/spec_1_1_1", saved_ref="refs/phalanx/saved/spec_1_1_1", repository="/src/my shop"),
        collected("/home/worktrees/\x1b[2J", instance_id=None, kept="spec_1_1_9 works in it"),
    ]
    terminal = Terminal(FakeClient(gc=results.GcResult(dry_run=False, items=items)))
    ended = terminal("gc")
    assert ended.exit_code == 0
    assert [line.split() for line in ended.stdout.splitlines()[1:4]] == [
        ["gone", "worktree", "spec_1_1_1", "/home/worktrees/spec_1_1_1"],
        ["stays", "worktree", "/home/worktrees/␛[2J"],
        ["spec_1_1_9", "works", "in", "it"],
    ]
    back = "  git -C '/src/my shop' branch saved/spec_1_1_1 refs/phalanx/saved/spec_1_1_1"
    assert ended.stdout.splitlines()[4:] == [
        "Work that was nowhere else is saved; this makes a branch of it:",
        back,
        "1 of 2 was cleared away.",
    ]
    assert terminal.request() == requests.GcRequest(dry_run=False)


def test_gc_as_a_dry_run_changes_nothing_and_says_so() -> None:
    terminal = Terminal(FakeClient(gc=results.GcResult(dry_run=True, items=[collected("/home/worktrees/spec_1_1_1")])))
    ended = terminal("gc", "--dry-run")
    assert "saved" not in ended.stdout.rpartition("\n1 of 1")[0]
    assert terminal.request() == requests.GcRequest(dry_run=True)
    assert "would go" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("1 of 1 would go. Without --dry-run it goes")
    nothing = Terminal(FakeClient(gc=results.GcResult(dry_run=False, items=[])))("gc")
    assert nothing.stdout == "There is nothing to clear away.\n"


FOUND = {"instances": 3, "messages": 12, "currentAt": 1796000000.0, "host": "one", "home": "/old/home"}


def terminal_over(home: Path, answer: Any = None, **more: Any) -> Terminal:
    terminal = Terminal(**more)
    terminal.environment |= {"PHALANX_HOME": str(home), "REDIS_URL": "redis://:s3cret@db:6379/0"}
    program = program_ended(json.dumps(answer or {"ok": True, **FOUND}))
    terminal.programs[Path(sys.executable).name] = program
    return terminal


def applied(terminal: Terminal) -> list[bool]:
    return ["--apply" in command for command in terminal.ran]


def test_what_would_be_restored_is_told_before_a_person_says_yes(short_tmp: Path) -> None:
    home = short_tmp / "home"
    terminal = terminal_over(home)

    ended = terminal("restore", "--from-redis", stdin="y\n")

    told = "3 instances and 12 messages on the way, as they were at 2026-11-30 00:53:20 UTC on one (/old/home)"
    assert ended.exit_code == 0, ended.output
    assert f"Bring back {told}, from redis://***@db:6379/0 into {home}?" in ended.output
    assert f"Restored: {told}. What was written after that is not in it. `phalanx up` goes on." in ended.stdout
    assert applied(terminal) == [False, True]


def test_nothing_is_restored_when_a_person_says_no_or_there_is_none(short_tmp: Path) -> None:
    asked = terminal_over(short_tmp / "home")
    assert asked("restore", "--from-redis", stdin="n\n").exit_code == 1
    alone = terminal_over(short_tmp / "home", is_terminal=False)
    ended = alone("restore", "--from-redis")

    assert ended.exit_code == 2
    assert "3 instances and 12 messages" in ended.stderr
    assert "--yes does it" in ended.stderr
    assert applied(asked) == applied(alone) == [False]


def test_with_yes_nobody_is_asked_and_json_is_one_document_without_a_password(short_tmp: Path) -> None:
    terminal = terminal_over(short_tmp / "home", is_terminal=False)

    ended = terminal("restore", "--from-redis", "--yes", "--json")

    assert json.loads(ended.stdout) == {
        **FOUND,
        "from": "redis://***@db:6379/0",
        "into": str(short_tmp / "home"),
    }
    assert "s3cret" not in json.dumps([terminal.ran, ended.output])
    assert [each["REDIS_URL"] for each in terminal.environments] == ["redis://:s3cret@db:6379/0"] * 2


def test_what_the_program_refuses_is_told_in_its_words(short_tmp: Path) -> None:
    refusal = {"ok": False, "error": {"code": "store", "message": "This home has a state already."}}

    ended = terminal_over(short_tmp / "home", refusal)("restore", "--from-redis", "--yes")

    assert (ended.exit_code, ended.stderr) == (1, "This home has a state already.\n")


def test_a_program_that_breaks_is_told_with_what_to_do(short_tmp: Path) -> None:
    terminal = terminal_over(short_tmp / "home")
    broken = program_ended(stderr="Traceback:\nModuleNotFoundError: No module named 'redis'\n", code=1)
    terminal.programs[Path(sys.executable).name] = broken

    ended = terminal("restore", "--from-redis", "--yes")

    assert ended.exit_code == 1
    assert "No module named 'redis'" in ended.stderr
    assert "phalanx doctor" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "url", "running", "code", "words"),
    [
        ([], "redis://db", False, 2, "`phalanx restore --from-redis`"),
        (["--from-redis"], "", False, 1, "name no Redis"),
        (["--from-redis", "--yes"], "redis://db", True, 1, "runs and has its state"),
    ],
)
def test_a_restore_that_cannot_be_is_refused_before_anything_is_asked(
    short_tmp: Path, arguments: list[str], url: str, running: bool, code: int, words: str
) -> None:
    terminal = terminal_over(short_tmp / "home")
    terminal.environment["REDIS_URL"] = url
    terminal.runtime = RunningRuntime if running else FakeRuntime

    ended = terminal("restore", *arguments)

    assert ended.exit_code == code, ended.output
    assert words in ended.stderr
    assert not terminal.ran
