"""Messages that the server sends its client without being asked: alerts of the team, and progress of calls.

``server`` tells the one ``AlertForwarder`` of the client, and makes a ``ProgressNotifier`` for each tool call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, get_args

import anyio
import mcp_types as types
from mcp.server.session import ServerSession
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from actors.errors import PhalanxError
from mcp_entry.progress import Progress
from mcp_entry.schemas import structured
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent
from supervisor.rpc.client import SupervisorClient

logger = logging.getLogger(__name__)
LOGGER = "phalanx"
_LEVELS: tuple[types.LoggingLevel, ...] = get_args(types.LoggingLevel)
_FIRST_LEVEL: types.LoggingLevel = "warning"
SendProgress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Progress so far, total if known, and a word on it."""
_SMALLEST_STEP = 0.001
"""Added when nothing new was done: MCP requires that progress rises with every notification."""
_Message = tuple[int, int | None, str]
"""Done, total if anything is counted, and words."""
_FIRST_WORDS = "working…"


class AlertForwarder:
    """Sends events of the team to the client as log messages.

    It listens to the team only when the client speaks a version of MCP in which a server may send log messages by
    itself (before 2026-07-28), and only for events that the client's log level lets through. The level is ``warning``
    until the client sets one: alerts; ``info`` adds health checks. A client without log messages ignores them.
    """

    def __init__(self, team: SupervisorClient) -> None:
        """It only listens to ``team``; others open the connection."""
        self._team = team
        self._level = _FIRST_LEVEL
        self._session: ServerSession | None = None
        self._listening: asyncio.Task[None] | None = None

    def client_is(self, session: ServerSession) -> None:
        """The client has called. No-op for a known client, and for one that takes no log messages unasked."""
        if self._session is None and session.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            self._session = session
            self._begin()

    def set_level(self, level: types.LoggingLevel) -> None:
        self._level = level
        self._begin()

    async def end(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    def _begin(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        kinds = self._kinds()
        if self._session is not None and kinds:
            self._listening = asyncio.create_task(self._listen(self._session, kinds), name="alerts")

    def _kinds(self) -> list[EventKind]:
        least = _LEVELS.index(self._level)
        kinds: list[EventKind] = ["alert"] if least <= _LEVELS.index("error") else []
        return [*kinds, "health-check"] if least <= _LEVELS.index("info") else kinds

    async def _listen(self, session: ServerSession, kinds: list[EventKind]) -> None:
        """Returns when the client has gone."""
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                await self._team.until_connected()
                try:
                    async for event in self._team.events(*kinds):
                        if _LEVELS.index(_level(event)) >= _LEVELS.index(self._level):
                            await session.send_notification(_notification(event))
                except PhalanxError as error:
                    logger.info("no alerts are forwarded until the team is reached anew: %s", error)
                await self._team.until_lost()


def _level(event: TeamEvent) -> types.LoggingLevel:
    return event.alert.severity if event.alert is not None else "info"


def _notification(event: TeamEvent) -> types.LoggingMessageNotification:
    data = structured(TeamEvent, event.model_dump(mode="json", by_alias=True))
    params = types.LoggingMessageNotificationParams(level=_level(event), logger=LOGGER, data=data)
    return types.LoggingMessageNotification(params=params)


class ProgressNotifier:
    """Progress of one tool call, as MCP requires: it always rises, and something comes every few seconds.

    The message says what is done or what it waits for, and how long it still takes where that can be told. A context
    manager around the call. A task beside the call sends the notifications; it starts with the first one, which most
    calls are too short to need. It repeats the last one while nothing new comes, so that clients with a time limit keep
    waiting.
    """

    def __init__(self, send: SendProgress, *, at_least_every_s: float, alike: bool = False) -> None:
        """``alike``: as ``Progress`` takes it."""
        self._send = send
        self._at_least_every_s = at_least_every_s
        self._progress = Progress(alike=alike)
        self._queue: asyncio.Queue[_Message | None] = asyncio.Queue()
        self._sent = 0.0
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._first = asyncio.get_running_loop().call_later(
            self._at_least_every_s, self._put, self._message(_FIRST_WORDS)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends what is still queued, unless the call failed or was cancelled."""
        self._first.cancel()
        if self._sending is not None and kind is None:
            self._queue.put_nowait(None)
            await self._sending
        elif self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def on_progress(self, done: int, total: int, what: str) -> None:
        """A ``ProgressCallback`` of the verbs."""
        self._progress(done, total, what)
        self._put(self._message(what))

    def _message(self, what: str) -> _Message:
        left = self._progress.left
        return self._progress.done, self._progress.total or None, f"{what}; {left}" if left else what

    def _put(self, message: _Message) -> None:
        self._first.cancel()
        self._queue.put_nowait(message)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name="progress")

    async def _send_all(self) -> None:
        while (message := await self._next()) is not None:
            done, total, words = message
            self._sent = max(float(done), self._sent + _SMALLEST_STEP)
            # Of what is counted next, less is done than was sent before: only the words tell how far that is.
            fits = total is not None and self._sent <= total
            await self._send(self._sent, total if fits else None, words)

    async def _next(self) -> _Message | None:
        try:
            async with asyncio.timeout(self._at_least_every_s):
                return await self._queue.get()
        except TimeoutError:
            return self._message(self._progress.what or _FIRST_WORDS)
