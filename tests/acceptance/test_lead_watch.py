"""``phalanx watch --for-lead`` as the monitor of a Claude runs it: before, beside and after a team of demo agents."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from actors.home import Home
from supervisor.api.requests import ReadRequest, SendRequest, WaitRequest
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import read_team
from tests.acceptance.team import Team, bring_up
from tests.processes import called, ends, of_ray, tell
from tests.projects import shell_environment

pytestmark = pytest.mark.timeout(240)
PATIENCE_S = 90.0
"""Generous: two cores of a busy machine."""
QUIET_S = 5.0
MOST_CPU = 0.02
"""Of a core, while nothing happens."""
MOST_MB = 120
WATCH = [str(Path(sys.executable).with_name("phalanx")), "watch", "--for-lead"]


@asynccontextmanager
async def watching(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *WATCH, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_of(process: asyncio.subprocess.Process, within_s: float = PATIENCE_S) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(within_s):
        return (await process.stdout.readline()).decode()


async def says_nothing(process: asyncio.subprocess.Process) -> None:
    with pytest.raises(TimeoutError):
        await line_of(process, QUIET_S)


async def ask(client: SupervisorClient, instance_id: str) -> None:
    """One more turn."""
    await client.send(SendRequest(instance_id=instance_id, message="go on", wait=True))
    await client.wait(WaitRequest(instance_ids=[instance_id]))


async def test_it_waits_for_a_team_tells_what_nobody_has_read_and_outlives_supervisor_and_team(
    short_tmp: Path,
) -> None:
    home = Home(short_tmp / "h")
    async with watching(shell_environment(home)) as watch:
        await says_nothing(watch)
        assert read_team(home) is None, "it starts no team"
        team = await up(short_tmp)
        try:
            async with await team.connect() as client:
                spawned = await client.spawn(team.specialist(name="cart"))
                assert f"{spawned.instance_id} (cart) is idle" in await line_of(watch)
                tell(called(of_ray(home), "ray::_SupervisorServer"))
                await ask(client, spawned.instance_id)
                assert "is idle" in await line_of(watch)
                await client.read(ReadRequest(instance_id=spawned.instance_id))
                dialog = '@@demo dialog Bash {"command": "ls"}'
                asking = await client.spawn(team.specialist(dialog, name="asks"))
                assert f"{asking.instance_id} (asks) needs attention [permissionId " in await line_of(watch)
            await says_little_at_rest(watch.pid)
            await asyncio.to_thread(team.runtime.down, lambda step: None)
            await asyncio.to_thread(team.runtime.up, team.environment, lambda step: None)
            async with await team.connect() as client:
                again = await client.spawn(team.specialist(name="again"))
                assert f"{again.instance_id} (again) is idle" in await line_of(watch)
            assert watch.returncode is None
        finally:
            await asyncio.to_thread(team.runtime.down, lambda step: None)


async def up(directory: Path) -> Team:
    return await asyncio.to_thread(partial(bring_up, directory, PHALANX_AGENT="demo"))


async def says_little_at_rest(pid: int) -> None:
    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    await asyncio.sleep(QUIET_S)
    used = sum(process.cpu_times()[:2]) - before
    assert used / QUIET_S < MOST_CPU, used
    assert process.memory_full_info().pss < MOST_MB << 20


def test_it_ends_with_its_parent_also_when_its_output_goes_on(short_tmp: Path) -> None:
    script = '"$@" > "$0" & echo $!; wait'
    command = ["sh", "-c", script, str(short_tmp / "lines"), *WATCH]
    environment = shell_environment(Home(short_tmp / "h"))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until_it_watches(pid)
        parent.kill()
    assert ends(pid, PATIENCE_S)


@pytest.mark.parametrize("as_socket", [False, True], ids=["pipe", "socket, as Claude Code gives it"])
def test_it_ends_when_nobody_reads_it_any_more(short_tmp: Path, *, as_socket: bool) -> None:
    ours, theirs = (each.detach() for each in socket.socketpair()) if as_socket else os.pipe()
    environment = shell_environment(Home(short_tmp / "h"))
    with subprocess.Popen(WATCH, env=environment, stdout=theirs) as watch:
        os.close(theirs)
        until_it_watches(watch.pid)
        os.close(ours)
        assert watch.wait(PATIENCE_S) == 0


def until_it_watches(pid: int) -> None:
    """It has opened its parent, as a descriptor of a process shows."""
    deadline = time.monotonic() + PATIENCE_S
    while "anon_inode:[pidfd]" not in descriptors_of(pid):
        assert time.monotonic() < deadline, "it does not look after its parent"
        time.sleep(0.1)


def descriptors_of(pid: int) -> list[str]:
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(each.readlink()))
    return found
