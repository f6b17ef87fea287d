"""What a shell is told when somebody presses the tabulator, as its completion script asks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from tests.integration.mcp_entry.gateway import team_that_answers

PHALANX = str(Path(sys.executable).with_name("phalanx"))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("phalanx sp", {"spawn"}),
        ("phalanx mcp ", {"add", "remove"}),
        ("phalanx mcp add --sc", {"--scope"}),
        ("phalanx mcp add --scope ", {"user", "local", "project"}),
    ],
)
def test_commands_options_and_their_values_are_offered(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_PHALANX_COMPLETE": "complete_bash"}
    said = subprocess.run(
        [PHALANX], env={**os.environ, **words}, capture_output=True, text=True, timeout=60, check=False
    )
    assert set(said.stdout.split()) == offered, said.stderr


TEAM: list[dict[str, Any]] = [
    {"instanceId": "spec_0_0_1", "name": "parser"},
    {"instanceId": "spec_0_0_2", "name": None},
]


async def offered(home: Home, typed: str) -> list[str]:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_PHALANX_COMPLETE": "complete_bash"}
    environment = {**os.environ, **words, "PHALANX_HOME": str(home.root)}
    shell = await asyncio.create_subprocess_exec(
        PHALANX, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said, complaint = await asyncio.wait_for(shell.communicate(), 60)
    assert complaint == b""
    return said.decode().split()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("phalanx attach ", ["parser", "spec_0_0_2"]),
        ("phalanx send par", ["parser"]),
        ("phalanx terminate spec_", ["spec_0_0_2", "spec_0_0_1"]),
        ("phalanx wait parser spec_0_0_2 p", ["parser"]),
        ("phalanx spawn --parent pa", ["parser"]),
        ("phalanx watch pa", ["parser"]),
        ("phalanx attach other", []),
    ],
)
async def test_instances_are_offered_by_name_and_by_an_id_that_was_begun(
    short_tmp: Path, typed: str, expected: list[str]
) -> None:
    home = Home(short_tmp / "home")
    async with team_that_answers(home, {"list": {"instances": TEAM}}):
        assert await offered(home, typed) == expected


async def test_nobody_is_offered_and_nothing_said_where_no_team_runs_or_it_does_not_answer_at_once(
    short_tmp: Path,
) -> None:
    home = Home(short_tmp / "home")
    assert await offered(home, "phalanx attach ") == []
    async with team_that_answers(home, {}):
        assert await offered(home, "phalanx attach ") == []
