"""The tool that has things ready before they are needed."""

from __future__ import annotations

from mcp_entry import texts
from mcp_entry.tools.tool import SETS, tool
from supervisor import requests, results
from supervisor.client import SupervisorClient
from supervisor.verbs import ProgressCallback


@tool("Have spares ready", SETS, texts.of_prewarm)
async def prewarm_resources(
    team: SupervisorClient, request: requests.PrewarmRequest, on_progress: ProgressCallback
) -> results.PrewarmResult:
    """Have spare instances (started, at their prompt, each with a worktree) ready, so that spawn takes no time.

    Use it before you start many instances, or while you still plan. A spawn takes a spare when it asks for the same
    workDir, agent, model, permissionMode and env; it then has the newest commit and a branch of its own like any other.
    Every spare uses the memory of an instance: ask for as many as you will start, and for 0 to let them go. A spare
    that is taken is not replaced; optimize_settings with prewarmInstances keeps a number ready for good. What you do
    not name stays as it is.

    Returns when all were made: success, instances and worktrees that are ready now, taken by spawns meanwhile, errors
    where some are not there. Next: spawn_batch.

    Example: {"instances": 10, "workDir": "/home/me/shop"}
    """
    return await team.prewarm_resources(request, on_progress)
