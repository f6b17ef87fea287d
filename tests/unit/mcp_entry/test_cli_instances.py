"""The commands for instances over a team that is not there: what they ask, what they print, how they end."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from actors.errors import InvalidRequestError, TeamNotRunningError, UnknownInstanceError
from actors.status import Status
from mcp_entry.cli import views
from mcp_entry.cli.app import app
from mcp_entry.cli.output import Output
from supervisor.api import requests, results
from supervisor.api.verbs import VERBS, ProgressCallback
from supervisor.versions import VERSION
from tests.fakes.gateway import (
    FakeClient,
    asking,
    collected,
    entry,
    info,
    listing,
    sent,
    terminated_with_saved_work,
    tuned,
)
from tests.fakes.terminal import HOME, BecameError, Terminal, program_ended

COMMANDS = {
    "metrics": [],
    "status": [],
    "spawn": ["Write tests."],
    "send": ["spec_1_1_1", "go on"],
    "read": ["spec_1_1_1"],
    "list": [],
    "wait": ["spec_1_1_1"],
    "respond": ["spec_1_1_2", "allow"],
    "interrupt": ["spec_1_1_1"],
    "restart": ["spec_1_1_1"],
    "recycle": ["spec_1_1_1"],
    "limit": ["spec_1_1_1", "--tokens", "2000"],
    "terminate": ["spec_1_1_1"],
    "attach": ["spec_1_1_1"],
    "merge": ["spec_1_1_1"],
    "sync": [],
    "git": [],
    "prewarm": ["3"],
    "perf": [],
    "tune": ["--spawns", "10"],
    "hosts": [],
    "drain": ["worker"],
    "gc": [],
    "up": [],
    "down": [],
}
STDIN = {"git": '[{"type": "status", "workspaceDir": "/src"}]'}
TESTED_ELSEWHERE = {"demo", "restore", "doctor", "mcp", "watch", "top", "team", "lead", "dashboard"}
"""Commands that need a machine of their own, a program or a file, or print lines for as long as they run."""


def test_every_command_is_tested_here_or_elsewhere() -> None:
    assert {*COMMANDS, *TESTED_ELSEWHERE} == set(get_group(app).commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_with_json_stdout_is_one_document_and_stderr_is_empty(command: str) -> None:
    ended = Terminal()(command, *COMMANDS[command], "--json", stdin=STDIN.get(command, ""))
    if command in ("up", "down"):
        assert ended.stderr
    else:
        assert ended.stderr == ""
    assert ended.exit_code == 0
    assert isinstance(json.loads(ended.stdout), dict)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "attach"])
def test_without_json_a_command_says_something_and_ends_with_0(command: str) -> None:
    ended = Terminal()(command, *COMMANDS[command], stdin=STDIN.get(command, ""))
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.strip()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("up", "down")])
def test_without_a_team_a_command_ends_with_1_and_says_what_to_do(command: str) -> None:
    terminal = Terminal(TeamNotRunningError("No team runs here. Start one with `phalanx up`."))
    ended = terminal(command, *COMMANDS[command], stdin=STDIN.get(command, ""))
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert ended.stderr == "No team runs here. Start one with `phalanx up`.\n"


def test_a_refusal_with_json_is_a_document_too() -> None:
    ended = Terminal(FakeClient(read=UnknownInstanceError("There is no instance spec_9.")))("read", "spec_9", "--json")
    assert ended.exit_code == 1
    assert json.loads(ended.stdout) == {
        "error": {"code": "unknown_instance", "message": "There is no instance spec_9."}
    }


@pytest.mark.parametrize("arguments", [["nonsense"], ["read"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert Terminal()(*arguments).exit_code == 2


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


def test_spawn_takes_limits_as_json() -> None:
    terminal = Terminal()
    terminal("spawn", "Do it.", "--limits", '{"tokens": 5000, "permissionModes": ["plan"]}')
    request = terminal.request()
    assert isinstance(request, requests.SpawnRequest)
    assert request.limits == requests.Limits(tokens=5000, permission_modes=["plan"])


@pytest.mark.parametrize("given", ["5000", "tokens=5000", "[]"])
def test_limits_that_are_no_json_object_are_refused_with_an_example(given: str) -> None:
    ended = Terminal()("spawn", "Do it.", "--limits", given)
    assert ended.exit_code == 2
    assert f'--limits takes a JSON object such as {{"tokens": 500000}}, not {given!r}.' in ended.stderr


def test_the_version_is_told_without_a_team() -> None:
    ended = Terminal(TeamNotRunningError("No team runs here."))("--version")
    assert (ended.exit_code, ended.stdout) == (0, f"phalanx {VERSION}\n")


def test_a_read_that_begins_in_the_middle_says_how_to_see_what_was_before() -> None:
    page = results.ReadResult(instance_id="spec_1_1_1", source="conversation", entries=[entry("x")] * 3, cursor="c:7")
    terminal = Terminal(FakeClient(read=page))
    assert terminal("read", "spec_1_1_1", "--lines", "3").stdout.startswith(
        "The latest 3 entries: --lines 12 shows more.\n"
    )
    for arguments in (["--lines", "4"], ["--lines", "3", "--cursor", "c:4"]):
        assert "shows more" not in terminal("read", "spec_1_1_1", *arguments).stdout


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
    assert ended.exit_code == 2
    assert "not valid UTF-8 at byte 2" in ended.stderr


def test_send_ends_with_1_when_the_message_was_not_delivered() -> None:
    unconfirmed = sent(success=False, status="unconfirmed", reason="no proof came within 5 s")
    ended = Terminal(FakeClient(send=unconfirmed))("send", "spec_1_1_1", "x", "--wait")
    assert ended.exit_code == 1
    assert "unconfirmed (no proof came within 5 s)" in ended.stdout


def test_send_stays_a_moment_to_hear_that_a_message_is_held_and_says_why() -> None:
    blocked = sent(status="blocked", reason="the agent waits for permission to use Bash")
    terminal = Terminal(FakeClient(send=blocked))
    ended = terminal("send", "spec_1_1_1", "x")
    assert ended.stdout == "msg_1 to spec_1_1_1 is held (the agent waits for permission to use Bash).\n"
    assert terminal.request().wait
    assert terminal.request().timeout_seconds < 1


def test_wait_ends_with_1_when_the_time_ran_out() -> None:
    late = results.WaitResult(reached=False, reason="The time ran out: 1 is still at work.", instances=[])
    ended = Terminal(FakeClient(wait=late))("wait", "spec_1_1_1")
    assert (ended.exit_code, ended.stdout) == (1, "Not all are done. The time ran out: 1 is still at work.\n")


@pytest.mark.parametrize(
    ("until", "needs", "words"),
    [
        ("idle", False, "All are done."),
        ("idle", True, "All are done or need somebody: spec_1_1_1."),
        ("any_idle", False, "One is done."),
        ("any_idle", True, "One needs somebody: spec_1_1_1."),
        ("needs_attention", True, "Needs somebody: spec_1_1_1."),
    ],
)
def test_a_wait_that_was_reached_says_what_was(until: str, needs: bool, words: str) -> None:
    reached = results.WaitResult(reached=True, instances=[info(needs_attention=needs)])
    ended = Terminal(FakeClient(wait=reached))("wait", "spec_1_1_1", "--until", until)
    assert ended.stdout.splitlines()[0] == words


def test_an_answer_without_a_decision_is_refused_with_the_lines_to_type() -> None:
    ended = Terminal()("respond", "docs")
    assert ended.exit_code == 2
    assert "`phalanx respond docs allow` or `phalanx respond docs deny`" in " ".join(ended.stderr.split())


HELD = info(needs_attention=True, queued_messages=2, held_messages=1, reason="someone is typing")


def test_wait_and_send_end_with_3_when_a_message_is_held_back() -> None:
    held = results.WaitResult(reached=False, reason="spec_1_1_1 has a message held back.", instances=[HELD])
    ended = Terminal(FakeClient(wait=held))("wait", "spec_1_1_1")
    assert ended.exit_code == 3
    assert "ready, held" in ended.stdout
    assert "someone is typing; queued messages: 2, 1 of them held back" in ended.stdout
    blocked = FakeClient(send=sent(status="blocked", reason="someone is typing"))
    assert Terminal(blocked)("send", "spec_1_1_1", "x", "--wait").exit_code == 3
    assert Terminal(blocked)("send", "spec_1_1_1", "x").exit_code == 0


@pytest.mark.parametrize(("until", "code"), [("idle", 3), ("any_idle", 0), ("needs_attention", 0)])
def test_a_wait_that_is_reached_ends_with_3_only_where_it_was_for_all_and_one_needs_somebody(
    until: str, code: int
) -> None:
    failed = info(status=Status.FAILED, needs_attention=True, reason="it ended")
    reached = results.WaitResult(reached=True, instances=[failed])
    assert Terminal(FakeClient(wait=reached))("wait", "spec_1_1_1", "--until", until).exit_code == code


def test_wait_takes_names_or_all_and_not_both() -> None:
    terminal = Terminal()
    assert terminal("wait", "--all").exit_code == 0
    assert terminal.request().instance_ids is None
    for arguments in (["wait"], ["wait", "spec_1_1_1", "--all"]):
        ended = Terminal()(*arguments)
        assert (ended.exit_code, ended.stderr) == (2, "Name the instances to wait for, or give --all.\n")


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
        on_progress(1, 2, "\x1bdone")
        return FakeClient().replies["spawn"]

    ended = Terminal(FakeClient(spawn=spawn))("spawn", "x")
    assert ended.stderr == "making the workspace\n1/2 ␛done\n"


def test_where_nobody_looks_what_is_counted_takes_a_few_whole_lines_and_json_takes_none() -> None:
    async def prewarm(request: Any, on_progress: ProgressCallback) -> Any:
        for done in range(101):
            on_progress(done, 100, f"spare agents wait for {100 - done} that are being made")
        return FakeClient().replies["prewarm_resources"]

    told = Terminal(FakeClient(prewarm_resources=prewarm))("prewarm", "100").stderr
    assert told == (
        "0/100 spare agents wait for 100 that are being made\n100/100 spare agents wait for 0 that are being made\n"
    )
    as_json = Terminal(FakeClient(prewarm_resources=prewarm))("prewarm", "100", "--json")
    assert (as_json.stderr, json.loads(as_json.stdout)["success"]) == ("", True)


async def _ctrl_c(request: Any, on_progress: ProgressCallback) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ("spawn", "x"),
            "the instance may start all the same. `phalanx list` shows it, `phalanx terminate ID` ends it",
        ),
        (("up", "--resume"), "those that have begun start all the same"),
        (("restart", "spec_1_1_1"), "those that have begun start again all the same"),
        (("interrupt", "spec_1_1_1"), "the team may do it all the same. `phalanx list` shows what became of it"),
        (
            ("prewarm", "3"),
            "the spares are made all the same. `phalanx perf` shows how many are ready",
        ),
        (
            ("drain", "one"),
            "is emptied all the same. `phalanx hosts` shows how far that is, `phalanx drain HOST",
        ),
        (("terminate", "spec_1_1_1"), "they are ended all the same. `phalanx list` shows who is left"),
        (("wait", "--all"), "the team works on. `phalanx interrupt --all` stops its turns"),
        (("merge", "spec_1_1_1"), "the merge goes on, and moves all of the work or none"),
        (("list",), "Stopped."),
    ],
)
def test_who_presses_ctrl_c_is_told_what_goes_on_and_how_to_end_it(command: tuple[str, ...], words: str) -> None:
    client = FakeClient(**dict.fromkeys(VERBS, _ctrl_c))

    ended = Terminal(client)(*command)

    assert (ended.exit_code, ended.stderr.count(words)) == (130, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send", "spec 1", "hi"], "ID cannot be 'spec 1'"),
        (["send", "spec_1_1", ""], "the text must not be empty"),
        (["wait", "spec_1_1", "x y"], "ID cannot be 'x y'"),
        (["wait", "spec_1_1", "--timeout", "0"], "--timeout must be more than 0"),
        (["spawn", "hi", "--name", "a b"], "--name cannot be 'a b'"),
        (["spawn", "hi", "--parent", "x y"], "--parent cannot be 'x y'"),
        (["spawn", "hi", "--env", "PHALANX_X=1"], "a name in --env cannot be 'PHALANX_X': names that begin with"),
        (["spawn", "hi", "--limits", '{"tokens": 0}'], "--limits"),
        (["respond", "spec_1_1", "deny", "--message", "x" * 100_001], "--message cannot be"),
        (["tune", "--spawns", "0"], "--spawns must be at least 1, not 0"),
        (["tune", "--batch-delay", "-1"], "--batch-delay must be at least 0"),
        (["perf", "--window", "1"], "--window must be at least 10"),
        (["prewarm", "500"], "INSTANCES must be at most 200, not 500"),
    ],
)
def test_what_a_person_has_typed_is_refused_in_the_words_of_the_command_line(arguments: list[str], words: str) -> None:
    ended = Terminal()(*arguments)
    assert ended.exit_code == 2
    assert words in ended.stderr
    assert not re.search(r"Value error|[Ii]nput should|instanceIds?|timeoutSeconds|maxConcurrent", ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tune", "--cache-size", "x"], "'--cache-size': it must be a whole number, not 'x'."),
        (["wait", "spec_1_1", "--timeout", "soon"], "'--timeout': it must be a number, not 'soon'."),
        (["read", "spec_1_1", "--lines", "0"], "'--lines': it must be at least 1, not"),
        (["spawn", "hi", "--role", "boss"], "'--role': 'boss' is not one of 'executive', 'manager', 'specialist'."),
    ],
)
def test_a_value_that_is_none_of_its_option_is_refused_in_words(arguments: list[str], words: str) -> None:
    ended = Terminal()(*arguments)
    assert ended.exit_code == 2
    assert words in ended.stderr


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


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("There is no instance spec_9. Call list to see the team.", "`phalanx list` shows the team."),
        ("spec_1 waits for no permission. Call list to see who does.", "`phalanx list` shows who does."),
        ("another one, for Bash. Call list and look at it first.", "Look at it with `phalanx list` first."),
        ("workDir '/x/workDir' is not a directory.", "--dir '/x/workDir' is not a directory."),
        ("Choose another parentId or leave it out.", "Choose another --parent or leave it out."),
        ("It waits for nothing. Call list to see who waits.", "`phalanx list` shows who waits."),
        ("choose another one, or leave name out.", "choose another one, or leave --name out."),
        ("vm is alone: leave host and labels out. See more.", "vm is alone: leave --host and --label out. See more."),
        ("Make a first commit, or use a shared workspace.", "Make a first commit, or use --shared."),
        ("They give name and host to others.", "They give name and host to others."),
        ("A file /srv/parentId/workDir is in the way.", "A file /srv/parentId/workDir is in the way."),
    ],
)
def test_what_the_team_refuses_is_said_in_the_words_of_the_command_line(refusal: str, words: str) -> None:
    terminal = Terminal(FakeClient(spawn=InvalidRequestError(refusal)))
    assert terminal("spawn", "Do it.").stderr.endswith(f"{words}\n")
    assert json.loads(terminal("spawn", "Do it.", "--json").stdout)["error"]["message"].endswith(words)


NAMED = listing(info("spec_1_0_2", name="parser"), info("spec_1_0_3"))


def test_instances_are_told_by_their_names_with_their_ids() -> None:
    merged = results.MergeResult(
        success=False,
        moved=False,
        instances=[
            results.MergedWork(
                instance_id="spec_1_0_2",
                branch="phalanx/spec_1_0_2",
                state="conflict",
                reason="it waits for spec_1_0_2 and spec_1_0_3; see `phalanx read spec_1_0_2`",
            )
        ],
        conflicts=[results.BranchConflict(between=["spec_1_0_2", "main"], files=["spec_1_0_2"])],
    )
    terminal = Terminal(FakeClient(merge=merged, list=NAMED))

    assert terminal("merge", "parser").stdout.splitlines() == [
        "Nothing was merged.",
        "- parser (spec_1_0_2) on phalanx/spec_1_0_2 conflict: it waits for parser (spec_1_0_2) and spec_1_0_3; "
        "see `phalanx read spec_1_0_2`",
        "parser (spec_1_0_2) and main conflict in spec_1_0_2.",
    ]
    assert json.loads(terminal("merge", "parser", "--json").stdout)["instances"][0]["instanceId"] == "spec_1_0_2"


def test_an_error_names_instances_too_and_is_told_without_names_when_the_team_has_gone() -> None:
    refusal = InvalidRequestError("spec_1_0_2 is a specialist.")
    named = Terminal(FakeClient(spawn=refusal, list=NAMED))("spawn", "x")
    assert named.stderr == "parser (spec_1_0_2) is a specialist.\n"
    alone = Terminal(FakeClient(spawn=refusal, list=TeamNotRunningError("No team.")))("spawn", "x")
    assert alone.stderr == "spec_1_0_2 is a specialist.\n"


def test_the_notes_of_a_list_and_the_end_of_a_wait_name_instances() -> None:
    failed = info("spec_1_0_2", name="parser", status=Status.FAILED, reason="it ended", needs_attention=True)
    assert "parser (spec_1_0_2): it ended" in Terminal(FakeClient(list=listing(failed)))("list").stdout
    waited = results.WaitResult(reached=False, reason="spec_1_0_2 is failed.", instances=[failed])
    ended = Terminal(FakeClient(wait=waited))("wait", "parser")
    assert ended.stdout.startswith("Not all are done. parser (spec_1_0_2) is failed.\n")


def test_limit_alone_shows_the_limits_and_an_option_that_is_lifted_takes_one_away() -> None:
    terminal = Terminal()
    ended = terminal("limit", "spec_1_1_1")
    assert "Limits of spec_1_1_1: models opus; tokens 2000." in ended.stdout
    assert "It and all below it have used 1000 tokens." in ended.stdout
    assert terminal.request() == requests.LimitRequest(instance_id="spec_1_1_1", limits=requests.Limits())
    terminal = Terminal()
    terminal("limit", "spec_1_1_1", "--lift", "permissions", "--lift", "tokens", "--depth", "1")
    assert terminal.request() == requests.LimitRequest(
        instance_id="spec_1_1_1", limits=requests.Limits(depth=1), lift=["permissionModes", "tokens"]
    )
    ended = Terminal()("limit", "spec_1_1_1", "--lift", "tokens", "--tokens", "5")
    assert (ended.exit_code, "both given and lifted" in ended.stderr) == (2, True)


def test_what_merge_and_sync_are_told_to_be_given_is_named_by_its_option() -> None:
    merge = InvalidRequestError("/src has no branch checked out. Give into, the branch that is meant.")
    assert "Give --into, the branch" in Terminal(FakeClient(merge=merge))("merge", "spec_1_1_1").stderr
    sync = InvalidRequestError("Which branch it began from is not known: give from.")
    assert "not known: give --from." in Terminal(FakeClient(sync=sync))("sync").stderr
    respond = InvalidRequestError("It waits for permission to use Bash: give decision, not option.")
    ended = Terminal(FakeClient(respond=respond))("respond", "spec_1_1_1", "--option", "1")
    assert ended.stderr.endswith("give DECISION, not --option.\n")


def test_several_are_interrupted_side_by_side_and_each_is_refused_alone() -> None:
    async def interrupt(request: requests.InterruptRequest, on_progress: ProgressCallback) -> Any:
        if request.instance_id == "spec_9":
            raise UnknownInstanceError("There is no instance spec_9.")
        return results.InterruptResult(instance_id=request.instance_id, interrupted=True, status=Status.READY)

    terminal = Terminal(FakeClient(interrupt=interrupt))
    ended = terminal("interrupt", "spec_1_1_1", "spec_9")
    assert ended.exit_code == 1
    assert ended.stdout == "spec_1_1_1 was interrupted; it is ready now.\n"
    assert ended.stderr == "spec_9: There is no instance spec_9.\n"
    everybody = terminal("interrupt", "--all", "--json")
    assert everybody.exit_code == 0
    told = json.loads(everybody.stdout)["results"]
    assert [each["instanceId"] for each in told] == ["spec_1_1_2", "spec_1_1_1"]
    for wrong in (("interrupt",), ("interrupt", "--all", "spec_1_1_1")):
        assert terminal(*wrong).exit_code == 2


def test_several_of_which_all_are_refused_are_each_told_and_with_json_stand_among_the_errors() -> None:
    terminal = Terminal(FakeClient(recycle=UnknownInstanceError("There is no such instance.")))
    ended = terminal("recycle", "spec_8", "spec_9")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "spec_8: There is no such instance.\nspec_9: There is no such instance.\n"
    as_json = terminal("recycle", "spec_8", "spec_9", "--json")
    assert as_json.exit_code == 1
    refused = {"code": "unknown_instance", "message": "There is no such instance."}
    errors = [{"instanceId": "spec_8", **refused}, {"instanceId": "spec_9", **refused}]
    assert json.loads(as_json.stdout) == {"results": [], "errors": errors}


def test_a_team_in_which_nobody_is_alive_is_said_to_be_so() -> None:
    ended = Terminal(FakeClient(list=listing()))("interrupt", "--all")
    assert (ended.exit_code, ended.stdout) == (0, "There is nobody.\n")


def test_one_at_its_prompt_that_takes_no_messages_is_shown_as_held() -> None:
    used_up = info(status=Status.READY, needs_attention=True, reason="its limit of tokens is used up")
    assert "ready, held" in Terminal(FakeClient(list=listing(used_up)))("list").stdout


def test_work_that_is_not_compared_says_why() -> None:
    work = results.WorkInfo(uncommitted_files=1, reason="/src has no branch with a commit checked out")
    shown = Terminal(FakeClient(list=listing(info(name="parser", work=work))))("list", "--work").stdout
    assert "parser (spec_1_1_1): 1 uncommitted, not compared: /src has no branch with a commit checked out" in shown


def test_settings_that_are_only_looked_at_are_shown_once_and_changed_ones_before_and_after() -> None:
    changed = Terminal()("tune", "--spawns", "10").stdout
    assert "BEFORE" in changed
    same = results.OptimizeSettingsResult(old_settings=tuned(), new_settings=tuned())
    shown = Terminal(FakeClient(optimize_settings=same))("tune").stdout
    assert "BEFORE" not in shown
    assert "maxConcurrentSpawns" in shown


def test_several_are_named_in_one_command_and_one_that_failed_ends_it_with_1() -> None:
    terminal = Terminal()
    assert terminal("terminate", "spec_1_1_1", "spec_1_1_2", "--cascade").exit_code == 0
    assert terminal.request() == requests.TerminateRequest(instance_ids=["spec_1_1_1", "spec_1_1_2"], cascade=True)
    error = results.ErrorInfo(code="unknown_instance", message="There is no instance spec_1_1_2.")
    outcomes = [
        results.RestartOutcome(instance_id="spec_1_1_1", success=True, status=Status.READY, resumed=True),
        results.RestartOutcome(instance_id="spec_1_1_2", success=False, error=error),
    ]
    reply = results.RestartsResult(success=False, restarted=outcomes)
    ended = Terminal(FakeClient(restart=reply))("restart", "spec_1_1_1", "spec_1_1_2")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines() == [
        "spec_1_1_1 was restarted and is ready; its conversation goes on.",
        "spec_1_1_2 was not restarted: There is no instance spec_1_1_2. (unknown_instance)",
    ]


def test_the_whole_team_is_terminated_in_one_command() -> None:
    terminal = Terminal(FakeClient(list=listing(info("spec_1_1_1"), info("spec_1_1_2"))))
    assert terminal("terminate", "--all").exit_code == 0
    assert isinstance(terminal.client, FakeClient)
    assert ("terminate", requests.TerminateRequest(instance_ids=["spec_1_1_1", "spec_1_1_2"])) in terminal.client.asked
    assert Terminal(FakeClient(list=listing()))("terminate", "--all").stdout == "There is nobody.\n"
    for arguments in ((), ("spec_1_1_1", "--all")):
        ended = Terminal()("terminate", *arguments)
        assert (ended.exit_code, ended.stderr) == (2, "Name the instances to terminate, or give --all.\n")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["send", "x", "two", "words"], "Give a text of several words in quotes"),
        (["spawn", "two", "words"], "Give a text of several words in quotes"),
        (["send", "x", "-dash"], "one that begins with a dash after --"),
        (["tune", "max_concurrent_spawns=3"], "Did you mean --spawns 3?"),
        (["tune", "maxConcurrentGitOps=3"], "Did you mean --git-ops 3?"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_was_probably_meant(typed: list[str], words: str) -> None:
    ended = Terminal()(*typed)
    assert ended.exit_code == 2
    assert words in " ".join(ended.stderr.split())


@pytest.mark.parametrize("command", [[], ["spawn"], ["mcp"], ["mcp", "add"]])
def test_help_is_a_command_too(command: list[str]) -> None:
    asked, flagged = Terminal()("help", *command), Terminal()(*command, "--help")
    assert (asked.exit_code, asked.stdout) == (0, flagged.stdout)


def test_attach_becomes_tmux_on_the_exact_session_and_leaves_a_tmux_around_it_aside() -> None:
    terminal = Terminal()
    terminal.environment["TMUX"] = "/tmp/tmux-1/default,1,0"
    ended = terminal("attach", "spec_1_1_1")
    assert isinstance(ended.exception, BecameError)
    assert ended.exception.command[:6] == ["tmux", "-S", f"{HOME}/tmux.sock", "attach-session", "-t", "=spec_1_1_1"]
    assert "TMUX" not in ended.exception.environment
    assert "Ctrl-b Ctrl-b d" in ended.stderr


def test_attach_to_one_whose_agent_has_ended_says_so_before_and_how_it_starts_again() -> None:
    reason = "the agent ended with exit status 3. Its last lines:\nboom"
    crashed = info(name="crasher", status=Status.FAILED, reason=reason)
    ended = Terminal(FakeClient(list=listing(crashed)))("attach", "crasher")
    words = (
        "crasher (spec_1_1_1): the agent ended with exit status 3, and nothing reads what you type. "
        "`phalanx restart spec_1_1_1` starts it again."
    )
    assert isinstance(ended.exception, BecameError)
    assert words in " ".join(ended.stderr.split())
    assert "goes to the agent" not in ended.stderr
    assert words in ended.exception.command[-1]


def test_attach_does_not_send_to_a_restart_of_an_instance_that_was_terminated() -> None:
    async def list_(request: Any, on_progress: ProgressCallback) -> Any:
        ended = [info("spec_1_1_2", status=Status.STOPPED)] if request.instance_ids or request.include_stopped else []
        return listing(info("spec_1_1_1"), *ended)

    ended = Terminal(FakeClient(list=list_))("attach", "spec_1_1_2")
    assert ended.exit_code == 1
    assert "spec_1_1_2 was terminated" in ended.stderr
    assert "restart" not in ended.stderr


def test_attach_says_on_which_machine_the_terminal_is_when_it_is_not_this_one() -> None:
    terminal = Terminal()
    terminal.programs["tmux"] = program_ended(stderr="can't find session", code=1)

    ended = terminal("attach", "spec_1_1_1")

    assert ended.exit_code == 1
    assert f"it runs on {info('spec_1_1_1').host}" in " ".join(ended.stderr.split())
    assert terminal.ran == [["tmux", "-S", f"{HOME}/tmux.sock", "has-session", "-t", "=spec_1_1_1"]]


def test_attach_needs_a_terminal_and_a_known_instance() -> None:
    ended = Terminal(is_terminal=False)("attach", "spec_1_1_1")
    assert (ended.exit_code, ended.exception.__class__) == (2, SystemExit)
    assert "attach needs a terminal" in ended.stderr
    ended = Terminal()("attach", "spec_1_1")
    assert ended.exit_code == 1
    assert "no instance spec_1_1" in ended.stderr


def test_terminate_says_how_to_get_saved_work_back_where_its_repository_is_not_known() -> None:
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
