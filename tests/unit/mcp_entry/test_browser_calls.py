"""What the page may ask of the team, over a supervisor that is a fake."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from actors.errors import RefusedError, UnavailableError
from mcp_entry.web.browser_calls import WORK_S, BrowserCalls
from supervisor.api import results
from supervisor.api.requests import ListRequest
from supervisor.api.results import WorkInfo
from supervisor.api.verbs import ProgressCallback, TeamVerbs
from tests.fakes.gateway import FakeClient, info


async def test_a_failure_to_look_at_the_work_is_told_to_all_who_ask_soon_after_and_then_looked_again() -> None:
    fails = True

    async def listed(_request: ListRequest, _progress: ProgressCallback) -> results.ListResult:
        await asyncio.sleep(2)
        if fails:
            raise UnavailableError("git does not answer.")
        return results.ListResult(needs_attention=[], counts={}, instances=[info("a", work=WorkInfo(base="main"))])

    client = FakeClient(list=listed)
    calls = BrowserCalls(client)
    found = await asyncio.gather(*(calls.work() for _ in range(5)), return_exceptions=True)
    assert [str(each) for each in found] == 5 * ["git does not answer."]
    with pytest.raises(UnavailableError):
        await calls.work()
    assert len(client.asked) == 1
    fails = False
    await asyncio.sleep(WORK_S)
    assert set((await calls.work())["instances"]) == {"a"}
    assert len(client.asked) == 2


def _operations(*given: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": kind, "workspaceDir": "/project", "params": params} for kind, params in given]


async def test_git_reads_for_the_page() -> None:
    client = FakeClient()
    reads = _operations(
        ("status", {}), ("diff", {"base": "HEAD"}), ("log", {}), ("branch", {}), ("branch", {"action": "list"})
    )
    await BrowserCalls(client).call(TeamVerbs.git_batch, {"operations": reads})
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    "writes",
    [
        ("commit", {"message": "x"}),
        ("checkout", {"branchName": "x"}),
        ("merge", {"source": "x"}),
        ("worktree", {"action": "list"}),
        ("tag", {"tagName": "x"}),
        ("branch", {"branchName": "x"}),
        ("branch", {"branch_name": "x"}),
        ("branch", {"action": "delete", "branchName": "x"}),
    ],
)
@pytest.mark.parametrize("form", [list, json.dumps])
async def test_git_changes_nothing_for_the_page(writes: tuple[str, dict[str, Any]], form: Callable[[Any], Any]) -> None:
    client = FakeClient()
    operations = form(_operations(("status", {}), writes))
    with pytest.raises(RefusedError, match=f"{writes[0]} may change something"):
        await BrowserCalls(client).call(TeamVerbs.git_batch, {"operations": operations})
    assert client.asked == []
