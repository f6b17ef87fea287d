"""``phalanx lead`` over a team that is not there: what it starts, what it goes into, what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.errors import WrongStateError
from actors.files import FileLock
from actors.status import Status
from mcp_entry.cli import lead as cli_lead
from supervisor.api import requests, results
from supervisor.api.requests import Role
from supervisor.settings import Settings
from tests.fakes.gateway import FakeClient, described, info, listing, spawned
from tests.fakes.terminal import HOME, Terminal, program_ended

DEMO = {"PHALANX_AGENT": "demo"}


def lead(instance_id: str, directory: Path, status: Status = Status.READY, **more: Any) -> results.InstanceDescription:
    return described(
        instance_id, role=Role.EXECUTIVE, status=status, attended=True, work_dir=str(directory.resolve()), **more
    )


def terminal(*instances: results.InstanceDescription, **more: Any) -> Terminal:
    ids = dict.fromkeys([*(each.instance_id for each in instances), "exec_9"])
    client = FakeClient(
        describe=results.DescribeResult(instances=list(instances)),
        spawn=spawned("exec_9", role=Role.EXECUTIVE),
        list=listing(*(info(instance_id) for instance_id in ids)),
    )
    made = Terminal(client, **more)
    made.environment |= DEMO
    return made


def asked(of: Terminal) -> list[str]:
    assert isinstance(of.client, FakeClient)
    return [verb for verb, _ in of.client.asked]


def session(of: Terminal) -> str:
    """Into whose terminal ``phalanx lead`` went."""
    (command,) = of.entered
    assert command[:3] == ["tmux", "-S", f"{HOME}/tmux.sock"]
    at = command.index("attach-session")
    target = command[at + 2]
    # When the agent ends, the person gets the terminal back.
    assert command[3:at] == ["set-hook", "-w", "-t", f"{target}:", "pane-died", f"detach-client -s {target}", ";"]
    return target


def test_it_starts_an_executive_without_a_message_in_the_directory_itself_and_goes_into_it(tmp_path: Path) -> None:
    at = terminal()
    at("lead", str(tmp_path), "--model", "opus", "--permissions", "plan", "--name", "boss")
    assert session(at) == "=exec_9"
    assert isinstance(at.client, FakeClient)
    (request,) = [request for verb, request in at.client.asked if verb == "spawn"]
    assert isinstance(request, requests.SpawnRequest)
    assert request == requests.SpawnRequest(
        role=Role.EXECUTIVE,
        work_dir=str(tmp_path.resolve()),
        context="",
        workspace_mode="shared",
        name="boss",
        model="opus",
        permission_mode="plan",
    )
    assert request.attended


def test_where_one_runs_it_goes_into_that_one_and_starts_none(tmp_path: Path) -> None:
    at = terminal(lead("exec_1", tmp_path))
    ended = at("lead", str(tmp_path))
    assert session(at) == "=exec_1"
    assert "spawn" not in asked(at)
    assert "exec_1 leads in" in ended.stderr


def test_it_waits_for_one_that_another_call_is_just_starting(tmp_path: Path) -> None:
    at = terminal(lead("exec_1", tmp_path, Status.STARTING))
    at("lead", str(tmp_path))
    assert session(at) == "=exec_1"
    assert asked(at) == ["describe", "wait", "list"]


def test_a_lead_elsewhere_and_an_executive_with_a_task_are_not_taken_for_it(tmp_path: Path) -> None:
    elsewhere = lead("exec_1", tmp_path.parent)
    with_a_task = described("exec_2", role=Role.EXECUTIVE, work_dir=str(tmp_path.resolve()))
    at = terminal(elsewhere, with_a_task)
    at("lead", str(tmp_path))
    assert session(at) == "=exec_9"


def test_resume_goes_on_with_the_last_one_that_ended(tmp_path: Path) -> None:
    ended_ones = [lead(name, tmp_path, Status.FAILED, resumable=True) for name in ("exec_1", "exec_2")]
    at = terminal(*ended_ones)
    at("lead", str(tmp_path), "--resume")
    assert session(at) == "=exec_2"
    assert asked(at) == ["describe", "restart", "list"]


def test_resume_says_so_when_there_is_none(tmp_path: Path) -> None:
    ended = terminal()("lead", str(tmp_path), "--resume")
    assert ended.exit_code == 1
    assert "No lead has ended in" in ended.stderr
    assert "`phalanx lead` starts one" in ended.stderr


def test_a_new_lead_beside_one_that_ended_says_how_to_go_on_with_that(tmp_path: Path) -> None:
    at = terminal(lead("exec_1", tmp_path, Status.STOPPED, resumable=True))
    ended = at("lead", str(tmp_path))
    assert session(at) == "=exec_9"
    assert "exec_1, has ended" in ended.stderr


def test_without_a_terminal_nothing_is_started(tmp_path: Path) -> None:
    at = terminal(is_terminal=False)
    ended = at("lead", str(tmp_path))
    assert ended.exit_code == 2
    assert "lead needs a terminal" in ended.stderr
    assert asked(at) == []


def test_with_json_it_starts_one_and_says_the_command(tmp_path: Path) -> None:
    at = terminal(is_terminal=False)
    ended = at("lead", str(tmp_path), "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["command"][-1] == "=exec_9"
    assert "spawn" in asked(at)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = terminal()("lead", str(tmp_path / "nowhere"))
    assert ended.exit_code == 2
    assert "nowhere is no directory" in ended.stderr


def test_without_claude_code_nothing_is_started(tmp_path: Path) -> None:
    at = terminal()
    at.environment |= {"PHALANX_AGENT": "claude", "PATH": str(tmp_path)}
    ended = at("lead", str(tmp_path))
    assert ended.exit_code == 1
    assert "Claude Code (claude) is not found" in ended.stderr
    assert asked(at) == []


def test_who_names_another_agent_than_the_running_team_has_is_told_that_it_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_lead, "kept_settings", lambda home: Settings(agent="claude"))
    at = terminal()
    at.environment["PATH"] = str(tmp_path)
    ended = at("lead", str(tmp_path))
    assert ended.exit_code == 1
    said = " ".join(ended.stderr.split())
    assert "runs already, with claude as its agent. Your settings name demo: to change to it" in said


def test_while_another_call_starts_one_in_the_same_directory_none_is_started_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_lead, "_OTHER_STARTS_S", 0.0)
    first = FileLock(tmp_path.resolve(), is_directory=True)
    assert first.try_acquire()
    at = terminal()
    ended = at("lead", str(tmp_path))
    assert (ended.exit_code, asked(at)) == (1, [])
    assert "Another `phalanx lead` is just starting" in ended.stderr
    first.release()
    at("lead", str(tmp_path))
    assert session(at) == "=exec_9"


def test_what_the_team_refuses_is_said_in_typed_words(tmp_path: Path) -> None:
    at = terminal()
    assert isinstance(at.client, FakeClient)
    at.client.replies["spawn"] = WrongStateError("workDir / is too wide.")
    ended = at("lead", str(tmp_path))
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (1, "DIR / is too wide.")


@pytest.mark.parametrize("environment", [{}, {"TMUX": "/tmp/tmux-1000/default,1,0"}])
def test_inside_a_tmux_it_says_by_which_keys_to_come_back(tmp_path: Path, environment: dict[str, str]) -> None:
    at = terminal()
    at.environment |= environment
    ended = at("lead", str(tmp_path))
    assert session(at) == "=exec_9"
    assert ("Ctrl-b Ctrl-b d" in ended.stderr) is bool(environment)


@pytest.mark.parametrize(("pane", "code"), [("1 1\n", 1), ("1 \n", 1), ("1 0\n", 0), ("0 \n", 0)])
def test_a_claude_that_dies_at_once_ends_it_with_its_last_lines_and_one_that_was_left_or_ended_does_not(
    tmp_path: Path, pane: str, code: int
) -> None:
    at = terminal()
    at.programs["tmux"] = program_ended(pane)

    async def look(*_: Any) -> results.ListResult:
        reason = "the agent ended with exit status 1. Its last lines:\nLog in first"
        return listing(info("exec_9", status=Status.FAILED, reason=reason) if at.entered else info("exec_9"))

    assert isinstance(at.client, FakeClient)
    at.client.replies["list"] = look
    ended = at("lead", str(tmp_path))
    assert (session(at), ended.exit_code) == ("=exec_9", code)
    assert ("Log in first" in ended.stderr) is bool(code)
    assert ("`phalanx terminate exec_9` ends it for good" in ended.stderr) is bool(code)


def test_one_that_has_ended_before_its_terminal_is_reached_is_told_and_not_gone_into(tmp_path: Path) -> None:
    at = terminal()
    assert isinstance(at.client, FakeClient)
    at.client.replies["list"] = listing(info("exec_9", status=Status.FAILED, reason="the agent ended. Its last lines:"))
    ended = at("lead", str(tmp_path))
    assert (ended.exit_code, at.entered) == (1, [])
    assert "exec_9 has ended: the agent ended." in ended.stderr
