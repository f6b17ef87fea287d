"""What the team tells of itself reaches a client as log messages, and only one that may get them unasked."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client import Client

from mcp_entry.connection import TeamConnection
from mcp_entry.server import EntryServer
from supervisor.api.results import Alert, Severity, TeamEvent
from tests.fakes.gateway import FakeClient

CHECK = TeamEvent(kind="health-check", at="now")


def alert(severity: Severity = "warning") -> TeamEvent:
    told = Alert(severity=severity, code="memory", category="machine", message="1.0 GB of memory left.")
    return TeamEvent(kind="performance-alert", at="now", alert=told)


class Lead:
    """A client that keeps the log messages which it gets."""

    def __init__(self, team: FakeClient) -> None:
        self.team = team
        self.got: asyncio.Queue[types.LoggingMessageNotificationParams] = asyncio.Queue()
        self.client: Client

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.got.put_nowait(params)

    async def next(self) -> types.LoggingMessageNotificationParams:
        return await asyncio.wait_for(self.got.get(), 5)

    async def calls(self) -> None:
        assert not (await self.client.call_tool("list", {})).is_error

    async def wants(self, level: types.LoggingLevel) -> None:
        with warnings.catch_warnings(action="ignore"):
            await self.client.set_logging_level(level)


@asynccontextmanager
async def lead(mode: Any = "legacy") -> AsyncIterator[Lead]:
    fake = FakeClient()
    made = Lead(fake)

    async def connect() -> Any:
        return fake

    async def bring_up() -> None:
        raise AssertionError("a team that answers is not brought up")

    team = TeamConnection(connect, bring_up, patience_s=5.0)
    entry = EntryServer(team, version="1", log=Path("/home/logs/entry.log"))
    async with Client(entry.server(), mode=mode, logging_callback=made.log) as client:
        made.client = client
        yield made
    await team.close()


@pytest.mark.parametrize("severity", ["warning", "error"])
async def test_an_alert_is_a_log_message_of_its_severity_with_what_is_wrong(severity: Severity) -> None:
    async with lead() as one:
        await one.calls()
        one.team.told.put_nowait(alert(severity))
        message = await one.next()
    assert (message.level, message.logger) == (severity, "phalanx")
    assert message.data["alert"]["message"] == "1.0 GB of memory left."


async def test_health_checks_come_to_who_asks_for_them_and_are_not_even_asked_for_otherwise() -> None:
    async with lead() as one:
        await one.calls()
        await asyncio.sleep(0)
        await one.wants("info")
        one.team.told.put_nowait(CHECK)
        assert (await one.next()).level == "info"
    assert one.team.listened == [("performance-alert",), ("performance-alert", "health-check")]


async def test_who_wants_only_errors_gets_no_warnings() -> None:
    async with lead() as one:
        await one.calls()
        await one.wants("error")
        one.team.told.put_nowait(alert("warning"))
        one.team.told.put_nowait(alert("error"))
        assert (await one.next()).level == "error"


async def test_who_wants_nothing_of_the_kind_makes_nobody_listen() -> None:
    async with lead() as one:
        await one.wants("critical")
        await one.calls()
    assert one.team.listened == []


async def test_where_log_messages_are_sent_only_on_request_nobody_listens_and_calls_work() -> None:
    async with lead(mode="2026-07-28") as one:
        await one.calls()
        await asyncio.sleep(0)
    assert one.team.listened == []


async def test_a_team_that_goes_ends_the_listening_and_nothing_else() -> None:
    async with lead() as one:
        one.team.goes_after_event = True
        await one.calls()
        one.team.told.put_nowait(alert())
        await one.next()
        await one.calls()
    assert one.team.listened == [("performance-alert",)]
