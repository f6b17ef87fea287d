"""Tools that start instances."""

from __future__ import annotations

from mcp_entry import sizes, texts
from mcp_entry.tools.tool import ADDS, tool
from supervisor import requests, results
from supervisor.client import SupervisorClient
from supervisor.verbs import ProgressCallback


@tool("Start one instance", ADDS, texts.of_spawn)
async def spawn(
    team: SupervisorClient, request: requests.SpawnRequest, on_progress: ProgressCallback
) -> results.SpawnResult:
    """Start one Claude Code instance in a tmux session of its own and give it its first message.

    Use it for a single member; for two or more use spawn_batch, which starts them at the same time. context is all
    that the instance knows: state the task, the files, what done means, and that it should commit its work. With
    workspaceMode isolated (the default) it works in a git worktree on a branch of its own, made from the last commit
    of workDir's repository: uncommitted changes there are not in it. shared lets it work in workDir itself, beside
    everyone else who does.

    role and parentId say who is who, and nothing more: a manager does not start or address its specialists by itself
    unless Phalanx is among its own tools. Otherwise you start them, send them work and pass on what they found.

    Returns once the context is in its conversation: instanceId (use it in every other tool), branch,
    workingDirectory, status, and notes that you should heed. If it fails, nothing is left behind. Next: wait for it,
    then read.

    Example: {"role": "specialist", "workDir": "/home/me/shop", "name": "cart-tests", "context": "Write tests for
    src/cart.py. Done when pytest passes. Commit to your branch."}
    """
    return await team.spawn(request, on_progress)


@tool("Start many instances", ADDS, texts.of_spawn_batch)
async def spawn_batch(
    team: SupervisorClient, request: requests.SpawnBatchRequest, on_progress: ProgressCallback
) -> results.SpawnBatchResult:
    """Start many Claude Code instances at once; the way to build a team. Each member is given as for spawn.

    They start side by side, as many at a time as the team's limit allows, and progress is reported for each. Give
    every member a task that it can do alone, on files that no other member changes, so that the branches merge.

    Returns instances in the order given, each with success and either instanceId, branch, workingDirectory, status,
    notes, or an error with code and message. A member that fails fails alone and leaves nothing behind: start only
    those again, corrected. success is true when all started. Next: wait with the ids that you got.

    Example: {"instances": [{"role": "specialist", "workDir": "/home/me/shop", "name": "cart", "context": "…"},
    {"role": "specialist", "workDir": "/home/me/shop", "name": "search", "context": "…"}]}
    """
    return sizes.of_spawn_batch(await team.spawn_batch(request, on_progress))
