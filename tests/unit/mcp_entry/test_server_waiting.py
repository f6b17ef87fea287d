"""Calls that take their time: progress, cancelling, calls side by side, and a team that has yet to start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client

from actors.errors import TeamNotRunningError
from mcp_entry.connection import TeamConnection
from mcp_entry.server import EntryServer
from supervisor.api import requests, results
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import ARGUMENTS, FakeClient, info
from tests.fakes.lead import BOTH_ERAS, lead


async def spawn_slowly(request: requests.SpawnBatchRequest, on_progress: ProgressCallback) -> results.SpawnBatchResult:
    for done in range(1, 51):
        on_progress(done, 50, f"spec_1_1_{done}")
    return FakeClient().replies["spawn_batch"]  # type: ignore[return-value]


@BOTH_ERAS
async def test_progress_of_a_batch_is_told_member_by_member_before_the_answer(mode: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with lead(FakeClient(spawn_batch=spawn_slowly), mode=mode) as client:
        await client.call_tool("list", {})
        await client.call_tool("spawn_batch", ARGUMENTS["spawn_batch"], progress_callback=on_progress)
    assert told == [(float(done), 50.0, f"spec_1_1_{done}") for done in range(1, 51)]


async def test_a_call_on_which_nothing_happens_tells_rising_progress_all_the_same() -> None:
    told: list[float] = []
    enough = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)
        if len(told) == 4:
            enough.set()

    async def wait(request: requests.WaitRequest, on_progress: ProgressCallback) -> results.WaitResult:
        await enough.wait()
        return results.WaitResult(reached=False, instances=[info()])

    async with lead(FakeClient(wait=wait), quiet_at_most_s=0.01) as client:
        await client.call_tool("wait", ARGUMENTS["wait"], progress_callback=on_progress)
    assert len(told) >= 4
    assert told == sorted(set(told))


@BOTH_ERAS
async def test_cancelling_a_call_ends_the_waiting_and_leaves_the_server_usable(mode: str) -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: requests.WaitRequest, on_progress: ProgressCallback) -> results.WaitResult:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with lead(FakeClient(wait=wait), mode=mode) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "wait", ARGUMENTS["wait"])
            await waiting.wait()
            group.cancel_scope.cancel()
        async with asyncio.timeout(5):
            await ended.wait()
        assert not (await client.call_tool("list", {})).is_error


async def test_calls_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def wait(request: requests.WaitRequest, on_progress: ProgressCallback) -> results.WaitResult:
        await both.wait()
        return results.WaitResult(reached=True, instances=[info()])

    async with lead(FakeClient(wait=wait)) as client, asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(client.call_tool("wait", ARGUMENTS["wait"]))
        group.create_task(client.call_tool("wait", ARGUMENTS["wait"]))


async def test_while_the_team_starts_a_call_waits_and_says_so() -> None:
    told: list[str | None] = []
    starting = asyncio.Event()
    running = False

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)
        starting.set()

    async def connect() -> Any:
        if not running:
            raise TeamNotRunningError("No team.")
        return FakeClient()

    async def bring_up() -> None:
        nonlocal running
        await starting.wait()
        running = True

    entry = EntryServer(TeamConnection(connect, bring_up, patience_s=5.0), version="1", log=Path("/x"))
    async with Client(entry.server()) as client:
        result = await client.call_tool("list", {}, progress_callback=on_progress)
    assert not result.is_error
    assert told == ["reaching the team, starting it if need be…"]


async def test_tools_are_listed_at_once_while_the_team_does_not_come_up() -> None:
    async def connect() -> Any:
        raise TeamNotRunningError("No team.")

    entry = EntryServer(TeamConnection(connect, asyncio.Event().wait, patience_s=5.0), version="1", log=Path("/x"))  # type: ignore[arg-type]
    async with asyncio.timeout(5), Client(entry.server()) as client:
        assert len((await client.list_tools()).tools) == len(ARGUMENTS)
