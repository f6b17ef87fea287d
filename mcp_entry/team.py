"""The entry's way to the team: one connection, shared by all tool calls, opened in the background and again when lost.

``server`` calls it. ``Team`` promises that at most one attempt to open runs at a time, that whoever waits for it may go
away without disturbing it, and that a failed attempt is told to those who waited and then forgotten: the next call
tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from actors.errors import TeamNotRunningError, UnavailableError
from supervisor import requests, results
from supervisor.verbs import ProgressCallback, ignore_progress

logger = logging.getLogger(__name__)


class TeamClient(Protocol):
    """What the tools need of a connection to the supervisor. Every method raises ``PhalanxError`` when it refuses."""

    @property
    def closed(self) -> bool: ...
    async def close(self) -> None: ...

    async def spawn(
        self, request: requests.SpawnRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnResult: ...
    async def spawn_batch(
        self, request: requests.SpawnBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnBatchResult: ...
    async def send(
        self, request: requests.SendRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SendResult: ...
    async def send_batch(
        self, request: requests.SendBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SendBatchResult: ...
    async def read(
        self, request: requests.ReadRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ReadResult: ...
    async def list(
        self, request: requests.ListRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ListResult: ...
    async def wait(
        self, request: requests.WaitRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.WaitResult: ...
    async def respond(
        self, request: requests.RespondRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RespondResult: ...
    async def interrupt(
        self, request: requests.InterruptRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.InterruptResult: ...
    async def terminate(
        self, request: requests.TerminateRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.TerminateResult: ...
    async def restart(
        self, request: requests.RestartRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RestartResult: ...


Connect = Callable[[], Awaitable[TeamClient]]
"""Connects to the supervisor. Raises ``TeamNotRunningError`` when none answers."""
BringUp = Callable[[], Awaitable[None]]
"""Brings the team up; returns when it runs. Raises ``PhalanxError`` with the reason when it cannot."""


class Team:
    def __init__(self, connect: Connect, bring_up: BringUp, *, patience_s: float) -> None:
        """``patience_s``: longest that a call waits for the team to come up."""
        self._connect = connect
        self._bring_up = bring_up
        self._patience_s = patience_s
        self._client: TeamClient | None = None
        self._opening: asyncio.Task[TeamClient] | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None and not self._client.closed

    def begin(self) -> None:
        """Opens the connection in the background, and brings the team up for it, unless that is so or under way."""
        if not self.connected:
            self._attempt()

    async def client(self) -> TeamClient:
        """The connection. Raises why the team could not be brought up, or ``UnavailableError`` if it takes longer."""
        if self._client is not None and not self._client.closed:
            return self._client
        try:
            return await asyncio.wait_for(asyncio.shield(self._attempt()), self._patience_s)
        except TimeoutError as error:
            raise UnavailableError(
                f"The team is still starting after {self._patience_s:.0f} s. Make the call again in a while."
            ) from error

    async def close(self) -> None:
        """Closes the connection and stops waiting for the team; what brings it up goes on by itself."""
        if self._opening is not None:
            self._opening.cancel()
        if self._client is not None:
            await self._client.close()

    def _attempt(self) -> asyncio.Task[TeamClient]:
        """The attempt to open the connection that is under way; begins one when none is."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="open the team")
            self._opening.add_done_callback(self._opened)
        return self._opening

    async def _open(self) -> TeamClient:
        if self._client is not None:
            await self._client.close()
        try:
            return await self._connect()
        except TeamNotRunningError:
            logger.info("no team answers; bringing it up")
        await self._bring_up()
        return await self._connect()

    def _opened(self, opening: asyncio.Task[TeamClient]) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if error := opening.exception():
            logger.warning("the team could not be reached: %s", error)
            return
        self._client = opening.result()
        logger.info("connected to the team")
