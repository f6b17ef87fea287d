"""Kill -9 for what starts agents, and damage to what it works with: the next agent starts, or is refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

import psutil
import pytest

from actors.errors import SettingsError
from actors.files import write_private
from actors.processes import end_processes, is_running, own_umask
from actors.tmux.server import TmuxServer
from mcp_entry.connection import TeamConnection as EntryTeam
from supervisor.api.requests import ListRequest, SendRequest, TerminateRequest
from tests.acceptance.team import Team
from tests.processes import called, of_ray, tell

pytestmark = [pytest.mark.kills, pytest.mark.timeout(240)]


@pytest.fixture
async def team(demo_team: Team) -> AsyncIterator[Team]:
    """One for all these tests; each leaves it without instances."""
    yield demo_team
    async with await demo_team.connect() as client:
        for info in (await client.list(ListRequest())).instances:
            await client.terminate(TerminateRequest(instance_id=info.instance_id))


async def test_a_host_actor_that_was_killed_comes_back_and_starts_agents(team: Team, entry: EntryTeam) -> None:
    client = await entry.client()
    tell(called(of_ray(team.home), "ray::_HostServer"))

    await client.spawn(team.specialist())

    assert len(TmuxServer(team.home.tmux_socket).agents()) == 1


@pytest.mark.parametrize("damage", ["lost", "torn"])
async def test_a_host_actor_that_finds_its_environment_damaged_refuses_to_start_agents_in_words_until_it_is_back(
    team: Team, entry: EntryTeam, damage: str
) -> None:
    client = await entry.client()
    spawned = await client.spawn(team.specialist())
    kept = team.home.environment_file.read_text()
    if damage == "lost":
        team.home.environment_file.unlink()
    else:
        team.home.environment_file.write_text(kept[:20])
    tell(called(of_ray(team.home), "ray::_HostServer"))

    for _ in range(2):
        with pytest.raises(SettingsError, match=r"environment.json.*cannot be read.*Put a copy of the file back"):
            await client.spawn(team.specialist())
    sent = SendRequest(instance_id=spawned.instance_id, message="go on", wait=True)
    assert (await client.send(sent)).status == "submitted"
    assert [info.instance_id for info in (await client.list(ListRequest())).instances] == [spawned.instance_id]
    host = called(of_ray(team.home), "ray::_HostServer")

    write_private(team.home.environment_file, kept)
    await client.spawn(team.specialist())
    assert len(TmuxServer(team.home.tmux_socket).agents()) == 2
    assert called(of_ray(team.home), "ray::_HostServer") == host


async def test_a_terminal_server_that_was_killed_is_there_again_for_the_next_agent(
    team: Team, entry: EntryTeam
) -> None:
    client = await entry.client()
    server = TmuxServer(team.home.tmux_socket)
    before = psutil.Process(server.pid())
    environment = before.environ()
    end_processes([before], grace_s=0)

    await client.spawn(team.specialist())

    after = psutil.Process(server.pid())
    assert after.environ() == environment
    assert after.ppid() == 1 or after.parent() not in of_ray(team.home)
    assert after.nice() == before_nice()
    assert Path(f"/proc/{after.pid}/oom_score_adj").read_text().strip() == "0"
    assert (await asyncio.to_thread(team.runtime.state)).kind == "running"
    end_processes(called(of_ray(team.home), "ray::_HostServer"), grace_s=0)
    assert is_running(after)
    assert len(server.agents()) == 1


def before_nice() -> int:
    return psutil.Process().nice()


async def test_a_home_that_was_worked_in_is_private_to_its_user(team: Team, entry: EntryTeam) -> None:
    """But for what git and the agents write behind a private directory, which has the modes that its user wants."""
    home = team.home
    client = await entry.client()
    spawned = await client.spawn(team.specialist("hello"))
    await client.send(SendRequest(instance_id=spawned.instance_id, message="go on", wait=True))
    skipped = {home.worktrees}
    wrong = []
    for path in (home.root, *home.root.rglob("*")):
        if skipped & set(path.parents) or path.parent.name == "transcripts" or path.is_symlink():
            continue
        with suppress(FileNotFoundError):  # a team at work makes and removes files
            status = path.stat()
            mode = status.st_mode & 0o777
            allowed = {0o700} if S_ISDIR(status.st_mode) else {0o600}
            if path == home.tmux_socket:  # tmux shows by it whether somebody is attached
                allowed = {0o600, 0o700}
            of_ray = home.ray_directory in (path, *path.parents)  # its directories are open, behind a private one
            if (mode & 0o077 and not path.is_dir()) if of_ray else mode not in allowed:
                wrong.append(f"{path.relative_to(home.root)} {mode:o}")

    assert wrong == []
    (tracked, *_) = sorted(path for path in (home.worktrees / spawned.instance_id).iterdir() if path.name != ".git")
    assert tracked.stat().st_mode & 0o777 == 0o666 & ~int(own_umask(), 8)
