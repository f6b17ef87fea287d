"""What a host keeps of the agents that it has started."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from actors.agents.base import AgentStart, LaunchRequest
from actors.errors import AgentError
from actors.home import Home
from actors.host.host import Host
from tests.fakes.hosts import CATALOG


async def test_a_launch_that_a_newer_version_kept_is_read(short_tmp: Path) -> None:
    home = Home(short_tmp / "h")
    home.create()
    host = Host(home, CATALOG, {})
    directory = home.instance_directory("spec_1_0_2")
    start = AgentStart(
        agent="demo",
        session_name="spec_1_0_2",
        working_directory=Path("/project"),
        trusted_directories=(Path("/project"),),
        request=LaunchRequest(
            instance_id="spec_1_0_2",
            session_id="s",
            resume=False,
            instance_directory=directory,
            system_prompt="p",
            mcp_servers=("db",),
        ),
    )
    await host.keep_launch(start)
    kept = directory / "launch-request.json"
    saved = json.loads(kept.read_text())
    saved["request"]["effort"] = "high"
    kept.write_text(json.dumps(saved))

    assert await host.kept_launch("spec_1_0_2") == start


async def test_nothing_is_trusted_and_nobody_starts_where_a_link_has_come_in_the_place_of_a_directory(
    short_tmp: Path,
) -> None:
    home = Home(short_tmp / "h")
    home.create()
    own, elsewhere = short_tmp / "own", short_tmp / "elsewhere"
    elsewhere.mkdir()
    own.symlink_to(elsewhere)
    host = Host(home, CATALOG, {"HOME": str(short_tmp), "PATH": os.environ["PATH"]})
    start = AgentStart(
        agent="demo",
        session_name="spec_1_0_2",
        working_directory=own / "below",
        trusted_directories=(own,),
        request=LaunchRequest(
            instance_id="spec_1_0_2",
            session_id="s",
            resume=False,
            instance_directory=home.instance_directory("spec_1_0_2"),
            system_prompt="p",
        ),
    )

    with pytest.raises(AgentError, match=f"leads to {elsewhere / 'below'} now"):
        await host.start_agent(start)

    assert not home.instance_directory("spec_1_0_2").exists()
