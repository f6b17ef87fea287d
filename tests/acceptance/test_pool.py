"""The pool with everything real: Claude Code is told who it is when it is given away, and only that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from actors.tmux.server import TmuxServer
from supervisor.api import requests
from supervisor.api.results import StockFigures
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.projects import git
from tests.standin.api import ApiStandIn

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]


def asked_with(api: ApiStandIn, words: str) -> list[str]:
    """The requests to the API, as text, of conversations in which these words were said; not those for a title."""
    return [text for request in api.requests if request.get("tools") and words in (text := json.dumps(request))]


async def test_a_spare_claude_is_told_who_it_is_with_its_task_and_knows_nothing_of_others(
    claude: SupervisorClient, claude_team: Team, api: ApiStandIn
) -> None:
    ready = await claude.prewarm_instances(2, str(claude_team.repository))
    assert (ready.success, ready.instances) == (True, 2), ready.errors
    assert not (await claude.list(requests.ListRequest())).instances
    times, spawned = [], []
    for number in range(2):
        begun = time.monotonic()
        spawned.append(await claude.spawn(claude_team.specialist(f"task number {number}", name=f"worker-{number}")))
        times.append(round((time.monotonic() - begun) * 1000))
    print("ms from the call to the submitted context:", times)
    await claude.wait(requests.WaitRequest(instance_ids=[one.instance_id for one in spawned], timeout_seconds=60))
    for number, one in enumerate(spawned):
        assert one.from_pool
        seen = asked_with(api, f"task number {number}")
        assert seen
        for words in (f"You are {one.instance_id} (worker-{number})", f"on the branch {one.branch}", "led by the lead"):
            assert words in seen[-1], words
        assert f"task number {1 - number}" not in seen[-1]
        assert spawned[1 - number].instance_id not in seen[-1]
    sent = await claude.send(requests.SendRequest(instance_id=spawned[0].instance_id, message="and then", wait=True))
    assert sent.status == "submitted"
    await claude.wait(requests.WaitRequest(instance_ids=[spawned[0].instance_id], timeout_seconds=60))
    assert asked_with(api, "and then")[-1].count(f"You are {spawned[0].instance_id}") == 1
    for one in spawned:
        await claude.terminate(requests.TerminateRequest(instance_id=one.instance_id))


async def test_an_instance_knows_the_instructions_that_its_project_got_after_the_spare_had_started(
    claude: SupervisorClient, claude_team: Team, api: ApiStandIn
) -> None:
    ready = await claude.prewarm_instances(1, str(claude_team.repository))
    assert ready.success, ready.errors
    (claude_team.repository / "CLAUDE.md").write_text("HOUSE-RULE-ONE\n")
    git(claude_team.repository, "add", "CLAUDE.md")
    git(claude_team.repository, "commit", "-q", "-m", "Give the project rules")
    spawned = await claude.spawn(claude_team.specialist("keep to the rules"))
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], timeout_seconds=60))
    assert "HOUSE-RULE-ONE" in asked_with(api, "keep to the rules")[-1]
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))


async def test_a_spare_whose_actor_was_just_killed_is_given_all_the_same(
    claude: SupervisorClient, claude_team: Team
) -> None:
    await claude.prewarm_instances(1, str(claude_team.repository))
    before = {agent.pid for agent in TmuxServer(claude_team.home.tmux_socket).agents()}
    for actor in _seats_of_spares(claude_team):
        os.kill(actor, signal.SIGKILL)
    spawned = await claude.spawn(claude_team.specialist("after the kill"))
    after = {agent.session_name: agent.pid for agent in TmuxServer(claude_team.home.tmux_socket).agents()}
    assert spawned.from_pool == (after[spawned.instance_id] in before)
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], timeout_seconds=60))
    read = await claude.read(requests.ReadRequest(instance_id=spawned.instance_id))
    assert sum("after the kill" in entry.text for entry in read.entries if entry.kind == "question") == 1
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))


async def test_spare_claudes_outlive_the_supervisor_and_whatever_is_tuned_afterwards(
    claude: SupervisorClient, claude_team: Team
) -> None:
    ready = await claude.prewarm_instances(2, str(claude_team.repository))
    assert ready.success, ready.errors
    before = {agent.pid for agent in TmuxServer(claude_team.home.tmux_socket).agents()}
    os.kill((await claude.status()).supervisor_pid, signal.SIGKILL)
    await claude.optimize_settings(requests.OptimizeSettingsRequest(message_batch_size=9))
    pool = await _pool_with(claude, 2)
    assert (pool.ready, pool.wanted) == (2, 2)
    assert {agent.pid for agent in TmuxServer(claude_team.home.tmux_socket).agents()} == before
    spawned = await claude.spawn(claude_team.specialist("after the supervisor's death"))
    after = {agent.session_name: agent.pid for agent in TmuxServer(claude_team.home.tmux_socket).agents()}
    assert spawned.from_pool
    assert after[spawned.instance_id] in before
    unchanged = await claude.prewarm_resources(requests.PrewarmRequest(worktrees=True))
    assert (unchanged.success, unchanged.instances, unchanged.worktrees) == (True, 1, 5)
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    assert (await claude.prewarm_resources(requests.PrewarmRequest(instances=0, worktrees=0))).instances == 0


async def _pool_with(claude: SupervisorClient, ready: int) -> StockFigures:
    """Once so many spare agents are ready."""
    async with asyncio.timeout(60):
        while True:
            seen = await claude.get_performance(requests.GetPerformanceRequest())
            if seen.metrics.pools.instances.ready >= ready:
                return seen.metrics.pools.instances
            await asyncio.sleep(0.2)


def _seats_of_spares(team: Team) -> list[int]:
    """The processes that keep a file of a spare's directory open."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            names = [str(each.readlink()) for each in (process / "fd").iterdir()]
            title = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::InstanceServer") and any(f"{team.home.instances}/spare_" in name for name in names):
            found.append(int(process.name))
    return found


async def test_a_fresh_claude_goes_on_with_the_summary_of_the_one_before_and_nothing_else_of_it(
    claude: SupervisorClient, claude_team: Team, api: ApiStandIn
) -> None:
    spawned = await claude.spawn(claude_team.specialist("the secret word is marzipan"))
    instance_id = spawned.instance_id
    await claude.wait(requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=60))
    done = await claude.recycle(requests.RecycleRequest(instance_id=instance_id))
    assert (done.status, bool(done.summary)) == ("ready", True)
    sent = await claude.send(requests.SendRequest(instance_id=instance_id, message="what comes next", wait=True))
    assert sent.status == "submitted"
    await claude.wait(requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=60))
    seen, summary = asked_with(api, "what comes next")[-1], json.dumps(done.summary)[1:-1]
    assert summary in seen
    assert f"You are {instance_id}" in seen
    rest = seen.replace(summary, "")
    assert "marzipan" not in rest
    assert "has grown long" not in rest
    (info,) = (await claude.list(requests.ListRequest())).instances
    assert (info.instance_id, info.branch) == (instance_id, spawned.branch)
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))
