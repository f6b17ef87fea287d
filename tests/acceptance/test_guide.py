"""The performance guide's calls, as it writes them, to a fresh team of demo agents through the real entry."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.acceptance.team import Team

pytestmark = pytest.mark.timeout(300)


async def test_the_guides_calls_do_on_a_fresh_team_what_it_says(demo_team: Team) -> None:
    """The entry runs where the lead works, as Claude Code starts it."""
    repository = str(demo_team.repository)
    entry = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_entry"], env=dict(demo_team.environment), cwd=repository
    )

    async with Client(stdio_client(entry)) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, {"tool": tool, **arguments})
            assert not result.is_error, result.content
            assert isinstance(result.structured_content, dict)
            return result.structured_content

        idle = await call("get_performance")
        assert idle["queues"]["spawn"]["pending"] == 0
        assert isinstance(idle["recommendations"], list)
        assert "avgBatchSize" not in idle["messages"]
        ready = await call("prewarm_resources", instances=10, worktrees=True)
        assert (ready["success"], ready["instances"], ready["worktrees"]) == (True, 10, 10)
        assert ready["workDir"] == repository
        member = {"role": "specialist", "workDir": repository, "context": "Feature", "workspaceMode": "isolated"}
        spawned = await call("spawn_batch", instances=[member, {**member, "role": "king"}, member])
        assert [one["success"] for one in spawned["instances"]] == [True, False, True]
        ids = [one["instanceId"] for one in spawned["instances"] if one["success"]]
        assert spawned["performance"]["fromPool"] == 2
        letter = {"message": "Please implement the login feature", "immediate": False}
        sent = await call("send_batch", messages=[{"instanceId": one, **letter} for one in ids], wait=True)
        assert sent["success"]
        status = {"type": "status", "workspaceDir": repository, "cacheKey": "project-status"}
        branch = {"type": "branch", "workspaceDir": repository, "params": {"branchName": "feature/login"}}
        done = await call("git_batch", operations=[status, {"type": "push"}, branch])
        assert [one["success"] for one in done["results"]] == [True, False, True]
        settings = {"maxConcurrentSpawns": 10, "messageBatchSize": 20, "messageBatchDelay": 200, "prewarmInstances": 5}
        changed = await call("optimize_settings", settings=settings)
        assert {name: changed["newSettings"][name] for name in settings} == settings
        assert (await call("prewarm_resources", worktrees=True))["instances"] == 8
        busy = await call("get_performance")
        assert busy["messages"]["avgBatchSize"] >= 1
        assert isinstance(busy["performance"]["score"], int)
