"""A team whose state file is lost with all of Ray: the start is refused in words, and one command brings it back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.errors import PhalanxError
from actors.processes import is_running
from actors.tmux.server import TmuxServer
from supervisor.api.requests import ListRequest, ReadRequest, SendRequest
from supervisor.store.keys import REQUEST_PREFIX, RedisKeys
from tests.acceptance.team import Team, bring_up
from tests.integration.store.mirrors import in_redis, until
from tests.integration.store.redis_server import RedisProcess, server
from tests.processes import of_ray, tell

pytestmark = [pytest.mark.kills, pytest.mark.timeout(240)]
PASSWORD = "s3cret"


@pytest.fixture
def redis(make_short_tmp: Callable[[], Path]) -> Iterator[RedisProcess]:
    with server(make_short_tmp(), password=PASSWORD) as process:
        yield process


@pytest.fixture
def team(make_short_tmp: Callable[[], Path], redis: RedisProcess) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo", REDIS_URL=redis.url)
    yield team
    team.runtime.down(lambda step: None)


def up(team: Team) -> None:
    team.runtime.up(team.environment, lambda step: None)


def phalanx(team: Team, *words: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", "from mcp_entry.cli.app import main; main()", *words, "--json"],
        env=dict(team.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert PASSWORD not in ended.stdout + ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


async def test_a_lost_file_is_restored_and_the_team_goes_on_with_living_agents_and_sends_nothing_twice(
    team: Team, redis: RedisProcess
) -> None:
    async with await team.connect() as client:
        spawned = (await client.spawn(team.specialist())).instance_id
        once = SendRequest(instance_id=spawned, message="only once", request_id="r1", wait=True)
        sent = await client.send(once)
        assert "mirrored in Redis" in (await client.status()).store
    agents = [psutil.Process(pane.pid) for pane in TmuxServer(team.home.tmux_socket).agents()]
    keys = RedisKeys.of(team.home.identity)
    await until(lambda: any(REQUEST_PREFIX in key for key in in_redis(redis.client, keys)))
    assert "runs and has its state" in phalanx(team, "restore", "--from-redis", "--yes")["error"]["message"]

    tell(of_ray(team.home))
    for file in team.home.root.glob("state.db*"):
        file.unlink()
    with pytest.raises(PhalanxError, match="`phalanx restore --from-redis`"):
        await asyncio.to_thread(up, team)
    assert all(map(is_running, agents))
    told = phalanx(team, "restore", "--from-redis", "--yes")
    assert (told["instances"], told["home"]) == (1, str(team.home.root))
    await asyncio.to_thread(up, team)

    async with await team.connect() as client:
        assert (await client.send(once)).message_id == sent.message_id
        assert "restored at" in (await client.status()).store
        listed = await client.list(ListRequest())
        assert ([each.instance_id for each in listed.instances], listed.warnings) == ([spawned], [])
        read = await client.read(ReadRequest(instance_id=spawned, lines=1000))
        assert sum("only once" in str(entry) for entry in read.entries if entry.kind == "question") == 1
    assert all(map(is_running, agents))
