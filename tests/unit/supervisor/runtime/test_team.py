from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from actors.errors import SettingsError
from actors.home import Home
from actors.marks import TEAM_MARK
from supervisor.runtime.team import Team, last_lines, read_team, write_private, write_team

TEAM = Team(team_id="abc", version="1", started_at="2026-01-01T00:00:00+00:00", head_pid=7, ray_address="127.0.0.1:1")


def test_a_team_that_was_written_is_read_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_team(home, TEAM)

    assert read_team(home) == TEAM
    assert stat.S_IMODE(home.team_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"team_id": "x", "more": 1}'])
def test_a_torn_file_is_no_team_unless_the_agents_environment_names_one(tmp_path: Path, content: bytes) -> None:
    home = Home(tmp_path)
    home.team_file.write_bytes(content)

    assert read_team(home) is None
    home.environment_file.write_text(json.dumps({TEAM_MARK: "abc"}))
    team = read_team(home)
    assert team is not None
    assert (team.team_id, team.head_pid) == ("abc", 0)


def test_a_private_file_is_replaced_whole_and_an_earlier_unfinished_one_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o644)
    (tmp_path / "x.new").write_text("half")

    write_private(path, "new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_private_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        write_private(tmp_path / "none" / "x", "new")


def test_the_last_lines_of_a_log_are_few_and_there_may_be_none(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(str(number) for number in range(100)))

    assert last_lines(log, 2) == "98\n99"
    assert last_lines(tmp_path / "none") == ""
