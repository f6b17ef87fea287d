from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.home import Home
from supervisor.runtime import Runtime
from supervisor.settings import Settings

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
