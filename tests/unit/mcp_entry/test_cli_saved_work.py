"""What the command line says of work that was saved, and how to get it back."""

from __future__ import annotations

import io

import pytest

from mcp_entry.cli import views
from mcp_entry.cli.output import Output
from supervisor.api import requests, results
from tests.fakes.gateway import FakeClient, collected, terminated_with_saved_work
from tests.fakes.terminal import Terminal


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
