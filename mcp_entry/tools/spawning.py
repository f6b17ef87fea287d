"""Tools that start instances."""

from __future__ import annotations

from mcp_entry import sizes, texts
from mcp_entry.tools.tool import ADDS, tool
from supervisor.api import requests, results
from supervisor.api.verbs import ProgressCallback
from supervisor.rpc.client import SupervisorClient


@tool("Start one instance", ADDS, texts.of_spawn)
async def spawn(
    team: SupervisorClient, request: requests.SpawnRequest, on_progress: ProgressCallback
) -> results.SpawnResult:
    """Start one Claude Code instance and give it its first message. For two or more use spawn_batch.

    context is all that it knows: state the task, the files, what done means, and that it should commit. An isolated
    one works in a git worktree on a branch of its own, made from the last commit of workDir: uncommitted changes are
    not in it. A manager does not start or address its specialists by itself unless Phalanx is among its own tools:
    you do, and pass on what they found.

    Returns once the context is in its conversation: instanceId, branch, workingDirectory, status, and notes to heed.
    If it fails, nothing is left behind. Next: wait for it, then read.

    Example: {"role": "specialist", "workDir": "/home/me/shop", "name": "cart-tests", "context": "Write tests for
    src/cart.py. Done when pytest passes. Commit to your branch."}
    """
    return await team.spawn(request, on_progress)


@tool("Start many instances", ADDS, texts.of_spawn_batch)
async def spawn_batch(
    team: SupervisorClient, request: requests.SpawnBatchRequest, on_progress: ProgressCallback
) -> results.SpawnBatchResult:
    """Start many Claude Code instances at once; the way to build a team. Each member is given as for spawn.

    Give every member a task that it can do alone, on files that no other member changes, so that the branches merge.

    Returns instances in the order given, each with success and what spawn returns, or an error; of more than twenty
    only instanceId and what is to note. A member that fails fails alone and leaves nothing behind: start only those
    again, corrected. Next: wait.

    Example: {"instances": [{"role": "specialist", "workDir": "/home/me/shop", "name": "cart", "context": "…"},
    {"role": "specialist", "workDir": "/home/me/shop", "name": "search", "context": "…"}]}
    """
    return sizes.of_spawn_batch(await team.spawn_batch(request, on_progress))
