"""phalanx attach: whose terminal it becomes, and when it does not."""

from __future__ import annotations

import subprocess
from typing import Any

from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import FakeClient, info, listing
from tests.fakes.terminal import HOME, BecameError, Terminal


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
    assert (ended.exit_code, ended.exception.__class__) == (2, SystemExit)
    assert "attach needs a terminal" in ended.stderr
    ended = Terminal()("attach", "spec_1_1")
    assert ended.exit_code == 1
    assert "no instance spec_1_1" in ended.stderr
