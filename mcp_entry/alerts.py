"""Tells the client what the team says of itself, as MCP log messages.

``server`` owns one. It listens to the team only when the client speaks a version of MCP in which a server may send log
messages by itself (before 2026-07-28), and hears only what the client's level lets through: unless it asks for more,
alerts (``warning`` and ``error``), with ``info`` health checks too. A client that takes no log messages ignores them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import get_args

import anyio
import mcp_types as types
from mcp.server.session import ServerSession
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from actors.errors import PhalanxError
from mcp_entry.schemas import structured
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent
from supervisor.rpc.client import SupervisorClient

logger = logging.getLogger(__name__)

LOGGER = "phalanx"
_LEVELS: tuple[types.LoggingLevel, ...] = get_args(types.LoggingLevel)
_FIRST_LEVEL: types.LoggingLevel = "warning"


class Alerts:
    def __init__(self) -> None:
        self._level = _FIRST_LEVEL
        self._session: ServerSession | None = None
        self._team: SupervisorClient | None = None
        self._listening: asyncio.Task[None] | None = None

    def client_is(self, session: ServerSession) -> None:
        """The client has called. No-op when it is known, or takes no log messages unasked."""
        if self._session is None and session.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            self._session = session
            self._begin()

    def team_is(self, team: SupervisorClient) -> None:
        """The team has been connected to, or another connection has taken the place of one that was lost."""
        self._team = team
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
        if self._session is not None and self._team is not None and kinds:
            self._listening = asyncio.create_task(self._listen(self._session, self._team, kinds), name="alerts")

    def _kinds(self) -> list[EventKind]:
        least = _LEVELS.index(self._level)
        kinds: list[EventKind] = ["performance-alert"] if least <= _LEVELS.index("error") else []
        return [*kinds, "health-check"] if least <= _LEVELS.index("info") else kinds

    async def _listen(self, session: ServerSession, team: SupervisorClient, kinds: list[EventKind]) -> None:
        """Until the team or the client has gone."""
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            try:
                async for event in team.events(*kinds):
                    if _LEVELS.index(_level(event)) >= _LEVELS.index(self._level):
                        await session.send_notification(_notification(event))
            except PhalanxError as error:
                logger.info("nobody listens to the team any more: %s", error)


def _level(event: TeamEvent) -> types.LoggingLevel:
    return event.alert.severity if event.alert is not None else "info"


def _notification(event: TeamEvent) -> types.LoggingMessageNotification:
    params = types.LoggingMessageNotificationParams(level=_level(event), logger=LOGGER, data=structured(event))
    return types.LoggingMessageNotification(params=params)
