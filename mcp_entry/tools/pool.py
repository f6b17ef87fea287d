"""The tool that has things ready before they are needed."""

from __future__ import annotations

from mcp_entry import texts
from mcp_entry.tools.tool import SETS, tool
from supervisor.api import requests, results
from supervisor.api.verbs import ProgressCallback
from supervisor.rpc.client import SupervisorClient


@tool("Have spares ready", SETS, texts.of_prewarm)
async def prewarm_resources(
    team: SupervisorClient, request: requests.PrewarmRequest, on_progress: ProgressCallback
) -> results.PrewarmResult:
    """Have spare instances (at their prompt, each with a worktree) ready, so that spawn takes no time.

    A spawn takes a spare when it asks for the same workDir, agent, model, permissionMode and env; it then has the
    newest commit and a branch of its own like any other. Every spare uses the memory of an instance: ask for as many
    as you will start. One that is taken is not replaced; optimize_settings with
    prewarmInstances keeps a number ready for good. What you do not name stays as it is.

    Returns when all were made: those that are ready now, taken, and errors where some are not there.

    Example: {"instances": 10, "workDir": "/home/me/shop"}
    """
    return await team.prewarm_resources(request, on_progress)
