"""The entry's way to the team: one connection, shared by all tool calls, opened in the background and again when lost.

``server`` calls it. ``Team`` promises that at most one attempt to open runs at a time, that whoever waits for it may go
away without disturbing it, and that a failed attempt is told to those who waited and then forgotten: the next call
tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.errors import TeamNotRunningError, UnavailableError
from supervisor.client import SupervisorClient

logger = logging.getLogger(__name__)


Connect = Callable[[], Awaitable[SupervisorClient]]
"""Connects to the supervisor. Raises ``TeamNotRunningError`` when none answers."""
BringUp = Callable[[], Awaitable[None]]
"""Brings the team up; returns when it runs. Raises ``PhalanxError`` with the reason when it cannot."""


class Team:
    def __init__(self, connect: Connect, bring_up: BringUp, *, patience_s: float, begin_after_s: float = 1.0) -> None:
        """``patience_s``: longest that a call waits for the team. ``begin_after_s``: what ``begin_soon`` waits."""
        self._connect = connect
        self._bring_up = bring_up
        self._patience_s = patience_s
        self._begin_after_s = begin_after_s
        self._client: SupervisorClient | None = None
        self._opening: asyncio.Task[SupervisorClient] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None and not self._client.closed

    def begin_soon(self) -> None:
        """Brings the team up in the background in a moment, unless ``close`` comes before, and connects to it."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._begin_after_s, self._begin)

    def _begin(self) -> None:
        if not self.connected:
            self._attempt()

    async def client(self) -> SupervisorClient:
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
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        if self._client is not None:
            await self._client.close()

    def _attempt(self) -> asyncio.Task[SupervisorClient]:
        """The attempt to open the connection that is under way; begins one when none is."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="open the team")
            self._opening.add_done_callback(self._opened)
        return self._opening

    async def _open(self) -> SupervisorClient:
        if self._client is not None:
            await self._client.close()
        try:
            return await self._connect()
        except TeamNotRunningError:
            logger.info("no team answers; bringing it up")
        await self._bring_up()
        return await self._connect()

    def _opened(self, opening: asyncio.Task[SupervisorClient]) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if error := opening.exception():
            logger.warning("the team could not be reached: %s", error)
            return
        self._client = opening.result()
        logger.info("connected to the team")
