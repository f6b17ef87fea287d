"""Kill -9 under a real team of demo agents that an entry leads: what is missing comes back without anybody's help."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from actors.errors import SettingsError, UnavailableError
from actors.home import Home
from actors.processes import end_processes, is_running
from actors.tmux.server import TmuxServer
from mcp_entry.connection import TeamConnection as EntryTeam
from mcp_entry.connection import ignore_steps
from supervisor.api.requests import ListRequest, SendRequest
from supervisor.settings import Settings
from supervisor.team.file import read_team
from tests.acceptance.bringing import OwnedBringUp
from tests.acceptance.team import Team, anew, bring_up
from tests.processes import called, of_ray, tell

pytestmark = [pytest.mark.kills, pytest.mark.timeout(240)]
BACK_S = 60.0
"""Generous: two cores of a busy machine."""


@pytest.fixture(scope="module")
def killed_team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def team(killed_team: Team) -> Team:
    return await anew(killed_team)


def victims(home: Home, name: str) -> list[psutil.Process]:
    team = read_team(home)
    assert team is not None
    if name == "head":
        return [psutil.Process(team.head_pid)]
    return of_ray(home) if name == "all of Ray" else called(of_ray(home), name)


async def supervisor_of(entry: EntryTeam) -> int:
    return (await (await entry.client()).status()).supervisor_pid


async def answer_after_a_loss(entry: EntryTeam, was: int) -> None:
    """Returns when a supervisor answers that is not this process. It may be any other that was there before: Ray gives
    an actor one of its idle workers."""
    async with asyncio.timeout(BACK_S):
        while True:
            if await supervisor_of(entry) != was:
                return
            await asyncio.sleep(0.02)


async def test_whatever_is_killed_the_team_answers_again_and_its_agents_were_never_disturbed(
    team: Team, entry: EntryTeam
) -> None:
    client = await entry.client()
    spawned = [await client.spawn(team.specialist(f"hello {number}")) for number in range(2)]
    agents = [psutil.Process(pane.pid) for pane in TmuxServer(team.home.tmux_socket).agents()]
    assert len(agents) == 2
    took: dict[str, float] = {}
    for name in ("ray::_SupervisorServer", "head", "all of Ray"):  # each of the others: see test_ray_kills
        supervisor = await supervisor_of(entry)
        begun = time.monotonic()
        tell(victims(team.home, name))

        await answer_after_a_loss(entry, supervisor)
        took[name] = round(time.monotonic() - begun, 2)
        for one in spawned:
            told = await (await entry.client()).send(
                SendRequest(instance_id=one.instance_id, message=f"after {name}", wait=True)
            )
            assert told.status == "submitted", (name, told)
        listed = await (await entry.client()).list(ListRequest())
        assert [each.instance_id for each in listed.instances] == [each.instance_id for each in spawned]
        assert all(is_running(agent) for agent in agents), name
        actors = called(of_ray(team.home), "ray::InstanceServer")
        assert len(actors) == 2, name
    print("seconds until the team answers again:", took)
    assert max(took.values()) < BACK_S


async def test_a_broken_edit_of_the_settings_keeps_no_team_from_coming_back(
    team: Team, entry: EntryTeam, bring: OwnedBringUp
) -> None:
    client = await entry.client()
    most = (await client.status()).max_concurrent_spawns
    team.home.config_file.write_text(f"max_concurrent_spawns = {most + 1}\nno_such_setting = [")
    before = await supervisor_of(entry)
    tell([psutil.Process(before)])
    await answer_after_a_loss(entry, before)
    assert (await (await entry.client()).status()).max_concurrent_spawns == most

    await entry.close()
    end_processes(of_ray(team.home), grace_s=0)
    await bring.bring_back(ignore_steps)
    async with await team.connect() as again:
        assert (await again.status()).max_concurrent_spawns == most
    with pytest.raises(SettingsError, match="not TOML"):
        Settings.load(team.home, team.environment)
    team.home.config_file.unlink()


async def test_a_team_whose_state_is_lost_begins_no_other_beside_its_agents_and_goes_on_when_it_is_back(
    team: Team, entry: EntryTeam, tmp_path: Path
) -> None:
    client = await entry.client()
    spawned = await client.spawn(team.specialist("hello"))
    await entry.close()
    agent = psutil.Process(TmuxServer(team.home.tmux_socket).agents()[0].pid)
    end_processes(of_ray(team.home), grace_s=0)
    for file in team.home.root.glob("state.db*"):
        shutil.move(file, tmp_path)

    with pytest.raises(UnavailableError, match=r"while 1 of its agents live.*Put state.db back"):
        await asyncio.to_thread(team.runtime.up, team.environment)
    assert is_running(agent)

    for file in team.home.root.glob("state.db*"):
        file.unlink()
    for file in tmp_path.glob("state.db*"):
        shutil.move(file, team.home.root)
    await asyncio.to_thread(team.runtime.up, team.environment)
    async with await team.connect() as client:
        sent = SendRequest(instance_id=spawned.instance_id, message="go on", wait=True)
        assert (await client.send(sent)).status == "submitted"
    assert is_running(agent)


async def test_a_team_that_is_brought_down_stays_down_under_an_entry(team: Team, entry: EntryTeam) -> None:
    log = team.home.logs / "up.log"
    log.unlink(missing_ok=True)
    client = await entry.client()
    await asyncio.to_thread(team.runtime.down)

    await client.until_lost()
    await asyncio.sleep(3)  # as long as an entry would have needed to bring it back

    assert not entry.connected
    assert not team.home.team_file.exists()
    assert not log.exists()
