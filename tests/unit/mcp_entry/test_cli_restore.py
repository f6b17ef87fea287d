"""`phalanx restore`: says what it would bring, asks, and hands the address on where nobody can read it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.runtime import TeamState
from tests.fakes.terminal import FakeRuntime, Terminal

FOUND = {"instances": 3, "messages": 12, "currentAt": 1796000000.0, "host": "one", "home": "/old/home"}


class RunningRuntime(FakeRuntime):
    def state(self) -> TeamState:
        return TeamState(kind="running")


def terminal_over(home: Path, answer: Any = None, **more: Any) -> Terminal:
    terminal = Terminal(**more)
    terminal.environment |= {"PHALANX_HOME": str(home), "REDIS_URL": "redis://:s3cret@db:6379/0"}
    program = subprocess.CompletedProcess([], 0, json.dumps(answer or {"ok": True, **FOUND}), "")
    terminal.programs[Path(sys.executable).name] = program
    return terminal


def applied(terminal: Terminal) -> list[bool]:
    return ["--apply" in command for command in terminal.ran]


def test_what_would_be_restored_is_told_before_a_person_says_yes(short_tmp: Path) -> None:
    home = short_tmp / "home"
    terminal = terminal_over(home)

    ended = terminal("restore", "--from-redis", stdin="y\n")

    told = "3 instances and 12 messages on their way, as they were at 2026-11-30 00:53:20 UTC on one (/old/home)"
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
    broken = subprocess.CompletedProcess([], 1, "", "Traceback:\nModuleNotFoundError: No module named 'redis'\n")
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
