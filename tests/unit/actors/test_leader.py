from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from actors.home import Home, TeamIdentity, leader_of, led_node_from, prepare_home, team_leader_of
from actors.marks import TEAM_MARK


@pytest.fixture
def home(short_tmp: Path) -> Home:
    home = Home(short_tmp / "h")
    home.create()
    home.node_directory.mkdir()
    return home


def test_a_home_of_its_own_is_led_by_nobody(home: Home) -> None:
    assert leader_of(home) == team_leader_of(home) == ""


def test_a_home_that_is_made_ready_for_another_host_s_team_is_led_from_there(home: Home) -> None:
    prepare_home(home, TeamIdentity(team_id="abc", address="10.0.0.1"))

    assert leader_of(home) == team_leader_of(home) == "10.0.0.1"
    assert stat.S_IMODE(home.leader_file.stat().st_mode) == 0o600
    assert json.loads(home.environment_file.read_text())[TEAM_MARK] == "abc"


def test_a_worker_of_a_cluster_is_led_from_its_head_before_there_is_a_team(home: Home) -> None:
    led_node_from(home, "10.0.0.1")

    assert leader_of(home) == "10.0.0.1"
    assert team_leader_of(home) == ""

    led_node_from(home, "")
    assert leader_of(home) == ""


def test_a_worker_from_which_a_team_was_brought_up_leads_it_itself(home: Home) -> None:
    led_node_from(home, "10.0.0.1")
    home.team_file.write_text("{}")

    assert leader_of(home) == ""
