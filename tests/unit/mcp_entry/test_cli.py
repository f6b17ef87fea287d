"""The command line over a team that is not there: what it asks, what it prints, how it ends."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from actors.errors import TeamNotRunningError, UnknownInstanceError
from actors.states import Status
from mcp_entry.cli import lifecycle, views
from mcp_entry.cli.output import Output
from mcp_entry.cli.words import typed_words
from supervisor import requests, results
from supervisor.verbs import VERBS, ProgressCallback
from tests.unit.mcp_entry.fakes import (
    REPLIES,
    FakeClient,
    asking,
    collected,
    entry,
    info,
    listing,
    sent,
    terminated_with_saved_work,
)
from tests.unit.mcp_entry.worlds import HOME, BecameError, HalfARuntime, RunningRuntime, Terminal

COMMANDS = {
    "status": [],
    "spawn": ["Write tests."],
    "send": ["spec_1_1_1", "go on"],
    "read": ["spec_1_1_1"],
    "list": [],
    "wait": ["spec_1_1_1"],
    "respond": ["spec_1_1_2", "allow"],
    "interrupt": ["spec_1_1_1"],
    "restart": ["spec_1_1_1"],
    "terminate": ["spec_1_1_1"],
    "attach": ["spec_1_1_1"],
    "perf": [],
    "tune": ["--spawns", "10"],
    "gc": [],
    "up": [],
    "down": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_with_json_stdout_is_one_document_and_stderr_is_empty(command: str) -> None:
    ended = Terminal()(command, *COMMANDS[command], "--json")
    if command in ("up", "down"):
        assert ended.stderr
    else:
        assert ended.stderr == ""
    assert ended.exit_code == 0
    assert isinstance(json.loads(ended.stdout), dict)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "attach"])
def test_without_json_a_command_says_something_and_ends_with_0(command: str) -> None:
    ended = Terminal()(command, *COMMANDS[command])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.strip()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("up", "down")])
def test_without_a_team_a_command_ends_with_1_and_says_what_to_do(command: str) -> None:
    terminal = Terminal(TeamNotRunningError("No team runs here. Start one with `phalanx up`."))
    ended = terminal(command, *COMMANDS[command])
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert ended.stderr == "No team runs here. Start one with `phalanx up`.\n"


def test_a_refusal_with_json_is_a_document_too() -> None:
    ended = Terminal(FakeClient(read=UnknownInstanceError("There is no instance spec_9.")))("read", "spec_9", "--json")
    assert ended.exit_code == 1
    assert json.loads(ended.stdout) == {
        "error": {"code": "unknown_instance", "message": "There is no instance spec_9."}
    }


def test_wrong_usage_ends_with_2() -> None:
    assert Terminal()("spawn", "x", "--role", "boss").exit_code == 2
    assert Terminal()("nonsense").exit_code == 2
    assert Terminal()("read").exit_code == 2


def test_spawn_asks_for_an_instance_in_the_directory_given() -> None:
    terminal = Terminal()
    terminal("spawn", "Do it.", "--dir", "/src", "--role", "manager", "--shared", "--env", "A=b=c", "--name", "x")
    request = terminal.request()
    assert request == requests.SpawnRequest(
        role=requests.Role.MANAGER,
        work_dir="/src",
        context="Do it.",
        workspace_mode="shared",
        env={"A": "b=c"},
        name="x",
    )


def test_spawn_works_on_the_current_directory_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal()
    terminal("spawn", "Do it.")
    assert terminal.request().work_dir == str(tmp_path)


@pytest.mark.parametrize("text", ["-x", "--json", "-- both", "$(touch /x)", "[bold]no markup[/bold]", "Grüße\n\n"])
def test_a_message_arrives_as_given_even_if_it_begins_with_a_dash(text: str) -> None:
    terminal = Terminal()
    assert terminal("send", "spec_1_1_1", "--", text).exit_code == 0
    assert terminal.request().message == text


def test_a_message_may_come_from_stdin_or_from_a_file(tmp_path: Path) -> None:
    terminal = Terminal()
    terminal("send", "spec_1_1_1", "-", stdin="a\r\nb\n")
    assert terminal.request().message == "a\r\nb\n"
    (tmp_path / "m").write_bytes("ö\n".encode())
    terminal = Terminal()
    terminal("send", "spec_1_1_1", "--file", str(tmp_path / "m"))
    assert terminal.request().message == "ö\n"


def test_a_message_is_given_exactly_once_and_in_utf8(tmp_path: Path) -> None:
    assert "Give the text once" in Terminal()("send", "spec_1_1_1").stderr
    assert "Give the text once" in Terminal()("send", "spec_1_1_1", "x", "--file", "/x").stderr
    assert "cannot be read" in Terminal()("send", "spec_1_1_1", "--file", str(tmp_path / "none")).stderr
    ended = Terminal()("send", "spec_1_1_1", "-", stdin=b"ab\xff")
    assert ended.exit_code == 1
    assert "not valid UTF-8 at byte 2" in ended.stderr


def test_send_ends_with_1_when_the_message_was_not_delivered() -> None:
    unconfirmed = sent(success=False, status="unconfirmed", reason="no proof came within 5 s")
    ended = Terminal(FakeClient(send=unconfirmed))("send", "spec_1_1_1", "x", "--wait")
    assert ended.exit_code == 1
    assert "unconfirmed (no proof came within 5 s)" in ended.stdout


def test_wait_ends_with_1_when_the_time_ran_out() -> None:
    late = results.WaitResult(reached=False, instances=[info()])
    assert Terminal(FakeClient(wait=late))("wait", "spec_1_1_1").exit_code == 1


def test_the_list_shows_what_an_instance_asks_for() -> None:
    ended = Terminal(FakeClient(list=listing(asking(tool="Bash", command="rm -r build"))))("list")
    assert 'asks for Bash: {"command": "rm -r build"}' in ended.stdout
    assert "waiting_permission" in ended.stdout


def test_nothing_that_an_agent_wrote_steers_the_terminal_or_is_taken_for_markup() -> None:
    nasty = "\x1b]0;title\x07\x1b[2J\x9b31m[red]red[/red] :smile: \u202eevil\r\x7f ok\ttab\nline"
    reply = results.ReadResult(
        instance_id="spec_1_1_1", source="conversation", entries=[entry(nasty)], cursor="\x1b[2J"
    )
    asks = listing(asking(tool="\x1b[2J", command=nasty), info(reason=nasty, status="failed", name="\x1bname"))
    for command, client in (("read", FakeClient(read=reply)), ("list", FakeClient(list=asks))):
        ended = Terminal(client)(command, *COMMANDS[command])
        assert ended.exit_code == 0
        assert not set(ended.stdout) & set("\x1b\x07\x9b\r\x7f\u202e")
        assert "[red]red[/red] :smile:" in ended.stdout
        assert "␛" in ended.stdout


def test_a_screen_is_shown_as_it_is() -> None:
    reply = results.ReadResult(instance_id="spec_1_1_1", source="screen", screen="╭──╮\n│> │\n")
    assert Terminal(FakeClient(read=reply))("read", "spec_1_1_1", "--screen").stdout == "╭──╮\n│> │\n\n"


def test_progress_goes_to_stderr_a_line_a_step_where_nobody_looks() -> None:
    async def spawn(request: requests.SpawnRequest, on_progress: ProgressCallback) -> Any:
        on_progress(0, 1, "making the workspace")
        on_progress(0, 1, "making the workspace")
        on_progress(1, 1, "\x1bdone")
        return FakeClient().replies["spawn"]

    ended = Terminal(FakeClient(spawn=spawn))("spawn", "x")
    assert ended.stderr == "0/1 making the workspace\n1/1 ␛done\n"


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
    monkeypatch.setattr(lifecycle, "waiting_settings", lambda *_: ["agent", "cache_size"])
    assert "not for this team" not in terminal("up").stdout
    terminal.runtime = RunningRuntime
    assert "not for this team before `phalanx down` and `phalanx up`: agent, cache_size." in terminal("up").stdout
    assert json.loads(terminal("up", "--json").stdout)["waitingSettings"] == ["agent", "cache_size"]


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
    assert ended.stdout.splitlines()[1:] == [
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
    assert ended.stdout.splitlines()[1] == "There was nobody to start again."


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


def test_terminate_says_how_to_get_saved_work_back() -> None:
    reply = results.TerminateResult(success=True, terminated=[terminated_with_saved_work(repository=None)])
    said = Terminal(FakeClient(terminate=reply))("terminate", "spec_1_1_1").stdout
    assert said.splitlines()[1] == "  git branch saved/spec_1_1_1 refs/phalanx/saved/spec_1_1_1"


def test_terminate_and_gc_tell_one_story_of_saved_work_and_one_command() -> None:
    kept = "What was only in its worktree was saved first: 1 uncommitted change is in it ('a')."
    each = terminated_with_saved_work().model_copy(update={"kept": kept})
    reply = results.TerminateResult(success=True, terminated=[each])
    told, command = Terminal(FakeClient(terminate=reply))("terminate", "spec_1").stdout.splitlines()
    removed = "spec_1_1_1 is stopped; its workspace was removed."
    assert told == f"{removed} {kept} This makes a branch of what was saved:"
    assert command == "  git -C /src branch saved/spec_1_1_1 refs/phalanx/saved/spec_1_1_1"

    item = collected("/home/worktrees/spec_1_1_1", saved_ref=each.saved_ref, repository=each.repository)
    gone = Terminal(FakeClient(gc=results.GcResult(dry_run=False, items=[item])))("gc").stdout.splitlines()
    assert gone[-3:-1] == ["Work that was nowhere else is saved; this makes a branch of it:", command]
    would_go = Terminal(FakeClient(gc=results.GcResult(dry_run=True, items=[item])))("gc", "--dry-run").stdout
    assert f"Once work that is nowhere else is saved, this makes a branch of it:\n{command}\n" in would_go


class NarrowTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_command_to_copy_is_never_broken_into_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = NarrowTerminal()
    reply = results.TerminateResult(success=True, terminated=[terminated_with_saved_work("/src/" + "long/" * 20)])
    Output.to(screen, io.StringIO(), as_json=False).show({}, views.of_terminate(reply))
    lines = screen.getvalue().splitlines()
    assert len(lines) > 2
    assert lines[-1].endswith("long/ branch saved/spec_1_1_1 refs/phalanx/saved/spec_1_1_1")
    assert max(len(line) for line in lines[:-1]) <= 40


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


def test_attach_becomes_tmux_on_the_exact_session_and_leaves_a_tmux_around_it_aside() -> None:
    terminal = Terminal()
    terminal.environment["TMUX"] = "/tmp/tmux-1/default,1,0"
    ended = terminal("attach", "spec_1_1_1")
    assert isinstance(ended.exception, BecameError)
    assert ended.exception.command[:6] == ["tmux", "-S", f"{HOME}/tmux.sock", "attach-session", "-t", "=spec_1_1_1"]
    assert "TMUX" not in ended.exception.environment
    assert "Ctrl-b Ctrl-b d" in ended.stderr


def test_attach_does_not_send_to_a_restart_of_an_instance_that_was_terminated() -> None:
    async def list_(request: Any, on_progress: ProgressCallback) -> Any:
        return listing(info("spec_1_1_2" if request.include_stopped else "spec_1_1_1"))

    ended = Terminal(FakeClient(list=list_))("attach", "spec_1_1_2")
    assert ended.exit_code == 1
    assert "spec_1_1_2 was terminated" in ended.stderr
    assert "restart" not in ended.stderr


def test_attach_says_on_which_machine_the_terminal_is_when_it_is_not_this_one() -> None:
    terminal = Terminal()
    terminal.programs["tmux"] = subprocess.CompletedProcess([], 1, "", "can't find session")

    ended = terminal("attach", "spec_1_1_1")

    assert ended.exit_code == 1
    assert f"it runs on {info('spec_1_1_1').host}" in " ".join(ended.stderr.split())
    assert terminal.ran == [["tmux", "-S", f"{HOME}/tmux.sock", "has-session", "-t", "=spec_1_1_1"]]


def test_attach_needs_a_terminal_and_a_known_instance() -> None:
    ended = Terminal(is_terminal=False)("attach", "spec_1_1_1")
    assert (ended.exit_code, ended.exception.__class__) == (1, SystemExit)
    assert "attach needs a terminal" in ended.stderr
    ended = Terminal()("attach", "spec_1_1")
    assert ended.exit_code == 1
    assert "no instance spec_1_1" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send", "spec_1_x", "hi"], "ID cannot be 'spec_1_x'"),
        (["send", "spec_1_1", ""], "the text must not be empty"),
        (["wait", "spec_1_1", "x"], "ID cannot be 'x'"),
        (["wait", "spec_1_1", "--timeout", "0"], "--timeout must be more than 0"),
        (["spawn", "hi", "--name", "a b"], "--name cannot be 'a b'"),
        (["spawn", "hi", "--parent", "x"], "--parent cannot be 'x'"),
        (["spawn", "hi", "--env", "PHALANX_X=1"], "a name in --env cannot be 'PHALANX_X': names that begin with"),
        (["respond", "spec_1_1", "deny", "--message", "x" * 100_001], "--message cannot be"),
        (["tune", "--spawns", "0"], "--spawns must be at least 1, not 0"),
        (["tune", "--batch-delay", "-1"], "--batch-delay must be at least 0"),
        (["perf", "--window", "1"], "--window must be at least 10"),
        (["prewarm", "500"], "INSTANCES must be at most 200, not 500"),
    ],
)
def test_what_a_person_has_typed_is_refused_in_the_words_of_the_command_line(arguments: list[str], words: str) -> None:
    ended = Terminal()(*arguments)
    assert ended.exit_code == 1
    assert words in ended.stderr
    assert not re.search(r"Value error|[Ii]nput should|instanceIds?|timeoutSeconds|maxConcurrent", ended.stderr)


def test_every_word_on_the_command_line_is_that_of_an_argument() -> None:
    known = {field.alias or name for verb in VERBS.values() for name, field in verb.request.model_fields.items()}
    named = {name for verb in VERBS for name in typed_words(verb)}
    assert named <= known


def test_no_command_is_described_with_an_end_that_is_cut_off() -> None:
    shown = Terminal()("--help").stdout.partition("Commands:")[2]
    assert len(shown.splitlines()) > len(COMMANDS)
    assert "..." not in shown


def test_what_is_to_say_of_many_instances_is_said_once() -> None:
    lost = [info(f"spec_0_0_{number}", status=Status.FAILED, reason="the server is gone") for number in range(1, 9)]
    other = info("spec_0_0_9", status=Status.FAILED, reason="it ended")
    shown = Terminal(FakeClient(list=listing(*lost, other)))("list").stdout
    named = ", ".join(f"spec_0_0_{number}" for number in range(1, 6))
    assert shown.splitlines()[-2:] == [f"{named} and 3 more: the server is gone", "spec_0_0_9: it ended"]
    assert shown.count("the server is gone") == 1
