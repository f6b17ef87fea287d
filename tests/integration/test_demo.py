"""What the demo decides and checks beside the team itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
import typer

from actors.errors import UnavailableError
from actors.home import Home
from mcp_entry.cli import demo
from mcp_entry.cli.demo import DemoFailed, Play, expect_nothing_left, own_variables, play
from scripts.demo_team import claude_environment
from supervisor.api.results import ReadResult, SpawnOutcome
from supervisor.runtime import OnStep
from supervisor.settings import Settings
from tests.fakes.gateway import FakeClient, entry


def user(home: Path, *, onboarded: bool) -> dict[str, str]:
    home.mkdir()
    (home / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": onboarded}))
    return {"HOME": str(home), "PATH": "/usr/bin"}


def test_an_account_of_a_claude_that_was_set_up_is_used(tmp_path: Path) -> None:
    given = {**user(tmp_path / "user", onboarded=True), "CLAUDE_CODE_OAUTH_TOKEN": "t", "PHALANX_CLAUDE_COMMAND": "sh"}
    with claude_environment(tmp_path, given) as environment:
        assert environment == given


@pytest.mark.parametrize(("onboarded", "key"), [(True, ""), (False, "sk-ant-of-somebody")])
def test_without_an_account_or_first_start_claude_talks_to_the_stand_in_and_nobody_else(
    tmp_path: Path, onboarded: bool, key: str
) -> None:
    given = {
        **user(tmp_path / "user", onboarded=onboarded),
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_MODEL": "some",
        "CLAUDE_CONFIG_DIR": str(tmp_path / "user"),
    }
    with claude_environment(tmp_path, given) as environment:
        assert environment["HOME"] != given["HOME"]
        assert environment["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
        assert environment["ANTHROPIC_API_KEY"] not in ("", key)
        assert environment.keys().isdisjoint({"ANTHROPIC_MODEL", "CLAUDE_CONFIG_DIR"})


def test_what_belongs_to_a_team_of_the_users_is_not_the_demos(tmp_path: Path) -> None:
    given = {
        **user(tmp_path / "user", onboarded=True),
        "PHALANX_CLAUDE_COMMAND": "claude --verbose",
        "PHALANX_HOME": "/their/team",
        "PHALANX_RAY_ADDRESS": "10.0.0.1:6390",
        "PHALANX_TEAM": "0123456789abcdef",
        "PHALANX_AGENT": "claude",
        "REDIS_URL": "redis://10.0.0.1/0",
        "REDIS_HOST": "10.0.0.1",
        "RAY_ADDRESS": "auto",
        "MAX_CONCURRENT_SPAWNS": "1",
    }
    assert own_variables(given).keys() == {"HOME", "PATH", "PHALANX_CLAUDE_COMMAND"}


def test_without_an_account_the_real_claude_is_refused_in_words_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in user(tmp_path / "user", onboarded=True).items():
        monkeypatch.setenv(name, value)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(typer.Exit) as ended:
        demo.demo(agent="claude")
    assert ended.value.exit_code == 1
    assert "Run `claude` once and log in" in capsys.readouterr().out


def test_a_process_that_is_left_in_the_home_fails_the_demo_by_name(tmp_path: Path) -> None:
    expect_nothing_left(tmp_path, None)
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as left:
        with pytest.raises(DemoFailed, match=str(left.pid)):
            expect_nothing_left(tmp_path, None)
        left.kill()
    expect_nothing_left(tmp_path, None)


PLAY = Play(agent="demo", size=1)


class InterruptedRuntime:
    """Somebody presses Ctrl-C while the team comes up, and again while it is put away."""

    number = signal.SIGINT

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home

    def up(self, environment: Mapping[str, str], on_step: OnStep) -> None:
        self.home.create()
        signal.raise_signal(self.number)

    def down(self, on_step: OnStep) -> None:
        signal.raise_signal(self.number)
        on_step("ending Ray")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_whoever_ends_it_otherwise_end_it_quietly_once_all_is_put_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    monkeypatch.setattr(InterruptedRuntime, "number", number)
    monkeypatch.setattr(demo, "Runtime", InterruptedRuntime)
    started_with = signal.signal(number, signal.default_int_handler)  # under nohup a hangup is ignored, and stays so
    before = {each: signal.getsignal(each) for each in signal.Signals}
    try:
        assert play(PLAY, os.environ) == 128 + number
        assert {each: signal.getsignal(each) for each in signal.Signals} == before
    finally:
        signal.signal(number, started_with)

    said = capsys.readouterr().out
    assert said.index("ending Ray") < said.index("no process of the team is left") < said.index("Stopped by you.")
    scratch = said.rpartition("is down, ")[2].split()[0]
    assert not Path(scratch).exists()


def test_it_can_be_ended_when_a_shell_started_it_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it ignores Ctrl-C."""
    monkeypatch.setattr(InterruptedRuntime, "number", signal.SIGTERM)
    monkeypatch.setattr(demo, "Runtime", InterruptedRuntime)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert play(PLAY, os.environ) == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


class ClosedWindow(InterruptedRuntime):
    """Somebody closes the terminal while the team comes up."""

    number = signal.SIGHUP
    homes: ClassVar[list[Path]] = []

    def down(self, on_step: OnStep) -> None:
        on_step("ending Ray")
        self.homes.append(self.home.root)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_closed_terminal_or_pipe_does_not_keep_it_from_putting_all_away(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    reader, writer = os.openpty() if is_terminal else os.pipe()
    os.close(reader)
    started_with = signal.signal(signal.SIGHUP, signal.default_int_handler)
    monkeypatch.setattr(demo, "Runtime", ClosedWindow)
    monkeypatch.setattr(demo, "console", type(demo.console)())
    ClosedWindow.homes.clear()
    try:
        with suppress(OSError), os.fdopen(writer, "w") as gone:
            monkeypatch.setattr(sys, "stdout", gone)
            code = play(PLAY, os.environ)
    finally:
        signal.signal(signal.SIGHUP, started_with)

    (home,) = ClosedWindow.homes
    assert code == 128 + signal.SIGHUP
    assert not home.parent.exists()


class StubbornRuntime:
    """The team does not come up, and nobody can bring down what has started of it."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home

    def up(self, environment: Mapping[str, str], on_step: OnStep) -> None:
        self.home.create()
        raise UnavailableError("Ray did not start.")

    def down(self, on_step: OnStep) -> None:
        raise UnavailableError("Process 7 does not end.")


class LeavingRuntime(StubbornRuntime):
    """A process goes on in the home of a team that says that it is down."""

    left: subprocess.Popen[bytes]

    def down(self, on_step: OnStep) -> None:
        type(self).left = subprocess.Popen([sys.executable, "-c", "input()"], cwd=self.home.root, stdin=subprocess.PIPE)


@pytest.mark.parametrize("runtime", [StubbornRuntime, LeavingRuntime])
def test_a_team_that_may_not_be_down_keeps_its_home_and_is_told_with_the_command_that_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runtime: type[StubbornRuntime]
) -> None:
    monkeypatch.setattr(demo, "Runtime", runtime)

    code = play(PLAY, os.environ)

    said = " ".join(capsys.readouterr().out.split())
    home = Path(said.partition("down --home ")[2].partition("`")[0])
    try:
        assert code == 1
        assert "The team is down" not in said
        assert said.index("Ray did not start.") < said.index("The team may not be down")
        assert home.is_dir()
        if issubclass(runtime, LeavingRuntime):
            assert f"processes of the team are left: {runtime.left.pid}" in said
        else:
            assert "Process 7 does not end." in said
    finally:
        if issubclass(runtime, LeavingRuntime):
            runtime.left.communicate(b"\n", timeout=30)
        if home.name == "home":
            shutil.rmtree(home.parent)


class FailingRuntime(StubbornRuntime):
    def down(self, on_step: OnStep) -> None:
        on_step("ending Ray")


def test_a_team_that_failed_and_is_down_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "Runtime", FailingRuntime)
    assert play(PLAY, os.environ) == 1
    said = capsys.readouterr().out
    assert said.index("Ray did not start.") < said.index("ending Ray") < said.index("The team is down.")
    assert not Path(said.partition("up (")[2].partition("/home)")[0]).exists()


class QuietRuntime(FailingRuntime):
    def up(self, environment: Mapping[str, str], on_step: OnStep) -> None:
        self.home.create()


def test_at_its_end_it_names_how_to_go_on_and_look_without_an_account(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(demo, "Runtime", QuietRuntime)
    monkeypatch.setattr(demo, "lead", nothing)
    assert play(PLAY, os.environ) == 0
    next_steps = capsys.readouterr().out.partition("Next, without an account:")[2]
    for named in (
        "PHALANX_AGENT=demo",
        "spawn",
        "top",
        "dashboard",
        "attach NAME",
        "down",
        "doctor",
        "mcp add",
        "lead",
    ):
        assert named in next_steps


async def test_an_answer_is_shown_as_the_agent_gave_it_and_controls_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = "Look at [/tmp/x] :smile: [bold]now\x1b]0;owned\x07"
    page = ReadResult(instance_id="spec_1_1_1", source="conversation", entries=[entry(answer)], cursor="1", more=False)
    await demo.read(FakeClient(read=page), [SpawnOutcome(success=True, instance_id="spec_1_1_1")])
    said = capsys.readouterr().out
    assert "spec_1_1_1 answered: Look at [/tmp/x] :smile: [bold]now" in said
    assert not {"\x1b", "\x07"} & set(said)
