"""A browser without a screen, and a supervisor of the test whose team it sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx2

from actors.home import Home
from mcp_entry.web.sign_in import make_link
from supervisor.api.requests import ChangesRequest, EventsRequest, Request
from supervisor.api.results import ChangesResult, EventsResult, InstanceInfo, ListResult, Result, TeamEvent
from supervisor.api.verbs import Caller
from tests.fakes.gateway import info
from tests.integration.rpc.conftest import ScriptedVerbs

WITHIN_S = 30.0
Event = tuple[str, Any]


class Browser:
    """As a browser that was signed in by a link, which the tests may then use otherwise."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.own = f"http://127.0.0.1:{port}"
        self.client = httpx2.AsyncClient(base_url=self.own, timeout=WITHIN_S, trust_env=False)

    async def sign_in(self, home: Home) -> httpx2.Response:
        return await self.client.get("/sign-in", params={"once": make_link(home)})

    async def call(self, verb: str, **arguments: Any) -> httpx2.Response:
        return await self.client.post(f"/api/call/{verb}", json=arguments, headers={"Origin": self.own})

    @asynccontextmanager
    async def stream(self, path: str = "/api/team") -> AsyncIterator[AsyncIterator[Event]]:
        """The events of a stream; comments are left out."""
        async with self.client.stream("GET", path) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            assert response.headers["content-type"].startswith("text/event-stream")
            async with aclosing(_events(response)) as events:
                yield events


async def _events(response: httpx2.Response) -> AsyncGenerator[Event]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def heard(events: AsyncIterator[Event], name: str, within_s: float = WITHIN_S) -> Any:
    """The data of the next event of this name; others before it are passed over."""
    async with asyncio.timeout(within_s):
        async for found, data in events:
            if found == name:
                return data
    raise AssertionError(f"the stream ended before {name}")


class ScriptedTeam:
    """Answers ``changes`` and ``events`` as a supervisor does, of rows and events that the test makes."""

    def __init__(self, verbs: ScriptedVerbs, rows: Sequence[InstanceInfo] = (), gather_s: float = 0.0) -> None:
        """``gather_s``: how long an answer waits for further changes."""
        self._gather_s = gather_s
        self._rows = {row.instance_id: row for row in rows}
        self._versions = dict.fromkeys(self._rows, 1)
        self._version = 1
        self._events: list[TeamEvent] = []
        self._changed = asyncio.Event()
        self.asked: list[str] = []
        verbs.answers.update(changes=self._answer_changes, events=self._answer_events, list=self._answer_list)

    def change(self, instance_id: str, **fields: Any) -> None:
        self.put(info(instance_id, **fields))

    def put(self, row: InstanceInfo) -> None:
        self._version += 1
        self._rows[row.instance_id] = row
        self._versions[row.instance_id] = self._version
        self._wake()

    def happen(self, **fields: Any) -> None:
        self._events.append(TeamEvent(at="2026-11-01T10:00:01.000Z", number=len(self._events) + 1, **fields))
        self._wake()

    async def _answer_changes(self, request: Request, _caller: Caller) -> Result:
        assert isinstance(request, ChangesRequest)
        self.asked.append("changes")
        since = int(request.cursor) if request.cursor else 0
        await self._until(lambda: self._version > since, request.timeout_seconds)
        await asyncio.sleep(self._gather_s)
        return ChangesResult(
            cursor=str(self._version),
            complete=not request.cursor,
            instances=[row for name, row in self._rows.items() if self._versions[name] > since],
            needs_attention=[row.instance_id for row in self._rows.values() if row.needs_attention],
        )

    async def _answer_events(self, request: Request, _caller: Caller) -> Result:
        assert isinstance(request, EventsRequest)
        self.asked.append("events")
        since = int(request.cursor) if request.cursor else len(self._events)
        await self._until(lambda: len(self._events) > since, request.timeout_seconds)
        return EventsResult(events=self._events[since:], cursor=str(len(self._events)))

    async def _answer_list(self, _request: Request, _caller: Caller) -> Result:
        self.asked.append("list")
        return ListResult(needs_attention=[], counts={}, instances=list(self._rows.values()))

    async def _until(self, satisfied: Any, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not satisfied():
                    await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
