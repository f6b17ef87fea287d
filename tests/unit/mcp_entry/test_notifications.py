"""What the server sends a client unasked: alerts as log messages, to those that may get them, and progress of calls."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import mcp_types as types
import pytest
from mcp.client import Client

from supervisor.api import requests, results
from supervisor.api.results import Alert, Severity, TeamEvent
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import ARGUMENTS, FakeClient, info
from tests.fakes.lead import BOTH_ERAS, lead

CHECK = TeamEvent(kind="health-check", at="now")


def alert(severity: Severity = "warning") -> TeamEvent:
    told = Alert(severity=severity, code="memory", category="machine", message="1.0 GB of memory left.")
    return TeamEvent(kind="alert", at="now", alert=told)


class AlertLead:
    """A client that keeps the log messages which it gets."""

    def __init__(self) -> None:
        self.team = FakeClient()
        self.got: asyncio.Queue[types.LoggingMessageNotificationParams] = asyncio.Queue()
        self.client: Client

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.got.put_nowait(params)

    async def next(self) -> types.LoggingMessageNotificationParams:
        async with asyncio.timeout(5):
            return await self.got.get()

    async def calls(self) -> None:
        assert not (await self.client.call_tool("list", {})).is_error

    async def wants(self, level: types.LoggingLevel) -> None:
        with warnings.catch_warnings(action="ignore"):
            await self.client.set_logging_level(level)


@asynccontextmanager
async def alert_lead(mode: str = "legacy") -> AsyncIterator[AlertLead]:
    made = AlertLead()
    async with lead(made.team, mode=mode, on_log=made.log) as client:
        made.client = client
        yield made


@pytest.mark.parametrize("severity", ["warning", "error"])
async def test_an_alert_is_a_log_message_of_its_severity_with_what_is_wrong(severity: Severity) -> None:
    async with alert_lead() as one:
        await one.calls()
        one.team.told.put_nowait(alert(severity))
        message = await one.next()
    assert (message.level, message.logger) == (severity, "phalanx")
    assert message.data["alert"]["message"] == "1.0 GB of memory left."


async def test_health_checks_come_to_who_asks_for_them_and_are_not_even_asked_for_otherwise() -> None:
    async with alert_lead() as one:
        await one.calls()
        await asyncio.sleep(0)
        await one.wants("info")
        one.team.told.put_nowait(CHECK)
        assert (await one.next()).level == "info"
    assert one.team.listened == [("alert",), ("alert", "health-check")]


async def test_who_wants_only_errors_gets_no_warnings() -> None:
    async with alert_lead() as one:
        await one.calls()
        await one.wants("error")
        one.team.told.put_nowait(alert("warning"))
        one.team.told.put_nowait(alert("error"))
        assert (await one.next()).level == "error"


async def test_who_wants_nothing_of_the_kind_makes_nobody_listen() -> None:
    async with alert_lead() as one:
        await one.wants("critical")
        await one.calls()
    assert one.team.listened == []


async def test_where_log_messages_are_sent_only_on_request_nobody_listens_and_calls_work() -> None:
    async with alert_lead(mode="2026-07-28") as one:
        await one.calls()
        await asyncio.sleep(0)
    assert one.team.listened == []


async def test_a_team_that_goes_ends_the_listening_and_nothing_else() -> None:
    async with alert_lead() as one:
        one.team.goes_after_event = True
        await one.calls()
        one.team.told.put_nowait(alert())
        await one.next()
        await one.calls()
    assert one.team.listened == [("alert",)]


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


async def prewarm_slowly(request: requests.PrewarmRequest, on_progress: ProgressCallback) -> results.PrewarmResult:
    for kind, total in (("agents", 20), ("worktrees", 5)):
        for done in range(total):
            on_progress(done, total, f"spare {kind} wait for {total - done} that are being made")
    return FakeClient().replies["prewarm_resources"]  # type: ignore[return-value]


async def test_progress_never_goes_beyond_its_total_when_something_else_is_counted_next() -> None:
    told: list[tuple[float, float | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total))

    async with lead(FakeClient(prewarm_resources=prewarm_slowly)) as client:
        arguments = ARGUMENTS["prewarm_resources"]
        await client.call_tool("prewarm_resources", arguments, progress_callback=on_progress)
    assert len(told) == 25
    assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})
    assert [each for each in told if each[1] is not None and each[0] > each[1]] == []


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
