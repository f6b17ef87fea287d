"""A host that belongs to another's team brings up none of its own and ends only what runs on itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, SettingsError, TeamNotRunningError
from actors.home import Home, led_node_from, led_team_from
from actors.marks import TEAM_MARK
from mcp_entry.connection import BringUpProcess, ignore_steps
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from supervisor.team.file import TeamInfo, write_team

HEAD = "10.0.0.1"


@pytest.fixture
def home(short_tmp: Path) -> Home:
    home = Home(short_tmp / "h")
    home.create()
    home.node_directory.mkdir()
    return home


def test_a_worker_brings_up_no_team_and_says_who_leads_it(home: Home) -> None:
    led_node_from(home, HEAD)

    with pytest.raises(TeamNotRunningError, match=f"led from {HEAD}.*no team of its own"):
        Runtime(home, Settings()).up(dict(os.environ))


def test_a_worker_may_lead_a_team_on_the_whole_cluster_when_no_other_host_does(home: Home) -> None:
    led_node_from(home, HEAD)
    runtime = Runtime(home, Settings(ray_address="10.0.0.1:6390"))
    with pytest.raises(SettingsError, match="tmux is missing"):  # what is looked at next
        runtime.up({"PATH": "/nowhere"})

    led_team_from(home, HEAD)

    with pytest.raises(TeamNotRunningError, match=f"led from {HEAD}"):
        runtime.up({"PATH": "/nowhere"})


def test_a_worker_does_not_end_the_team(home: Home) -> None:
    led_team_from(home, HEAD)
    home.lock_file.touch()

    with pytest.raises(InvalidRequestError, match=f"led from {HEAD}: `phalanx down` there"):
        Runtime(home, Settings()).down()


def test_what_a_worker_leaves_is_led_by_nobody_any_more(home: Home) -> None:
    led_team_from(home, HEAD)
    home.lock_file.touch()
    home.environment_file.write_text(json.dumps({TEAM_MARK: "of no process"}))

    report = Runtime(home, Settings()).end_here()

    assert not report.was_running
    assert not home.leader_file.exists()


async def test_an_entry_on_a_worker_starts_nothing(home: Home) -> None:
    led_team_from(home, HEAD)
    write_team(home, TeamInfo(team_id="abc", version="1", started_at="now"))
    bring_up = BringUpProcess(home=home, environment={})

    for bring in (bring_up, bring_up.bring_back):
        with pytest.raises(TeamNotRunningError, match=f"led from {HEAD}"):
            await bring(ignore_steps)
    assert not (home.logs / "up.log").exists()
