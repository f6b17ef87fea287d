"""What the page may ask of the team, over a supervisor that is a fake."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import UnavailableError
from mcp_entry.web.browser_calls import WORK_S, BrowserCalls
from supervisor.api import results
from supervisor.api.requests import ListRequest
from supervisor.api.results import WorkInfo
from supervisor.api.verbs import ProgressCallback
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
