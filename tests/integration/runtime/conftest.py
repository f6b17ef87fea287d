"""Homes whose teams run with a stand-in for the supervisor, and what the tests of Ray, tmux and processes share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from supervisor.team.file import TeamInfo, read_team

ROOT = Path(__file__).resolve().parents[3]
STANDIN = "tests.integration.runtime.standin_supervisor"


@pytest.fixture
def make_home(short_tmp: Path) -> Iterator[Callable[[str], Home]]:
    """Makes homes whose teams are brought down after the test."""
    made: list[Home] = []

    def make(name: str) -> Home:
        made.append(Home(short_tmp / name))
        return made[-1]

    yield make
    for home in made:
        Runtime(home, Settings()).down()


@pytest.fixture
def home(make_home: Callable[[str], Home]) -> Home:
    return make_home("h")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process with another team's mark."""
    with subprocess.Popen(["sleep", "60"], env={TEAM_MARK: "another"}, start_new_session=True) as process:
        yield process
        process.kill()


def team_of(home: Home) -> TeamInfo:
    team = read_team(home)
    assert team is not None
    return team


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
