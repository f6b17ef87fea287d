"""The tool that operates git."""

from __future__ import annotations

from mcp_entry import sizes, texts
from mcp_entry.tools.tool import ADDS, tool
from supervisor.api import requests, results
from supervisor.api.verbs import ProgressCallback
from supervisor.rpc.client import SupervisorClient


@tool("Operate git in many places", ADDS, texts.of_git_batch)
async def git_batch(
    team: SupervisorClient, request: requests.GitBatchRequest, on_progress: ProgressCallback
) -> results.GitBatchResult:
    """Run many git operations at once, in one or many working trees; quicker and safer than git in a shell.

    Use it to look over the branches of the team and to merge them. What touches the same is done in the order given.
    Nothing deletes work; a merge that would conflict touches nothing and is refused with conflicts, the files.

    params by type: status {}. branch {} lists; {branchName, startPoint?} creates; {action: "delete", branchName} only
    what is merged. tag {} lists; {tagName, target?}. checkout {branchName, create?, startPoint?}. commit {message} what
    is staged; with files those, with all true every change. merge {branchName, message?} into what workspaceDir has
    checked out; dryRun true only tells what would be. diff {base?, head?, staged?, files?}. log {ref?, maxCount?,
    files?}. worktree {} lists.

    Returns results in the order given, each with success and result, or an error; one that fails fails alone. All
    results of a call share about 45,000 characters: with leftOut, ask for that one alone, by files or maxCount, or use
    git in a shell.

    Example: {"operations": [{"type": "status", "workspaceDir": "/home/me/shop"}, {"type": "merge", "workspaceDir":
    "/home/me/shop", "params": {"branchName": "phalanx/spec_1_1_7"}}]}
    """
    return sizes.of_git_batch(await team.git_batch(request, on_progress))
