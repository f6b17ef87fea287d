"""The entry's way to the team: one connection, shared by all tool calls, opened in the background and again when lost.

``server`` calls it. ``Team`` promises that at most one attempt to open runs at a time, that whoever waits for it may go
away without disturbing it, and that a failed attempt is told to those who waited and then forgotten: the next call
tries again. A connection that was lost is opened again at once, without a call; for that a team that was lost is
brought back, but never one that was brought down: only a call does that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from actors.concurrency import Background
from actors.errors import PhalanxError, TeamNotRunningError, UnavailableError
from supervisor.rpc.client import SupervisorClient

logger = logging.getLogger(__name__)


Connect = Callable[[], Awaitable[SupervisorClient]]
"""Connects to the supervisor. Raises ``TeamNotRunningError`` when none answers."""
BringUp = Callable[[], Awaitable[None]]
"""Brings the team up; returns when it runs. Raises ``PhalanxError`` with the reason when it cannot."""
Revive = Callable[[], Awaitable[bool]]
"""Brings back a team that was lost; False when it was brought down. Raises ``PhalanxError`` when it cannot."""
_PAUSES_S = (0.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Before each attempt to bring a lost team back; then it is left to the next call."""
_TRIES = 3
_CLOSE_S = 2.0


class _BroughtDownError(TeamNotRunningError):
    """Nobody brings the team back unasked."""


class Team:
    def __init__(
        self,
        connect: Connect,
        bring_up: BringUp,
        *,
        patience_s: float,
        revive: Revive | None = None,
        begin_after_s: float = 1.0,
    ) -> None:
        """``patience_s``: longest that a call waits for the team. ``begin_after_s``: what ``begin_soon`` waits.
        Without ``revive`` a lost connection is left to the next call."""
        self._connect = connect
        self._bring_up = bring_up
        self._revive = revive
        self._patience_s = patience_s
        self._begin_after_s = begin_after_s
        self._client: SupervisorClient | None = None
        self._opening: asyncio.Task[SupervisorClient] | None = None
        self._opening_is_asked_for = False
        self._timer: asyncio.TimerHandle | None = None
        self._background = Background("the way to the team")
        self.on_connected: Callable[[SupervisorClient], None] = lambda _: None
        """Called with each connection that calls go over from then on."""

    @property
    def connected(self) -> bool:
        return self._client is not None and not self._client.closed

    def begin_soon(self) -> None:
        """Brings the team up in the background in a moment, unless ``close`` comes before, and connects to it."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._begin_after_s, self._begin)

    def _begin(self) -> None:
        if not self.connected:
            self._attempt(self._bring_up, asked_for=True)

    async def client(self) -> SupervisorClient:
        """The connection. Raises why the team could not be brought up, or ``UnavailableError`` if it takes longer."""
        if self._client is not None and not self._client.closed:
            return self._client
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._asked_for()
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
        await self._background.end(within_s=_CLOSE_S)
        if self._client is not None:
            await self._client.close()

    async def _asked_for(self) -> SupervisorClient:
        if self._opening is not None and not self._opening_is_asked_for:
            with suppress(PhalanxError):  # it would only have brought back what was lost
                return await asyncio.shield(self._opening)
        return await asyncio.shield(self._attempt(self._bring_up, asked_for=True))

    def _attempt(self, bring: BringUp, *, asked_for: bool) -> asyncio.Task[SupervisorClient]:
        """The attempt to open the connection that is under way; begins one when none is."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(bring), name="open the team")
            self._opening.add_done_callback(self._opened)
            self._opening_is_asked_for = asked_for
        return self._opening

    async def _open(self, bring: BringUp) -> SupervisorClient:
        try:
            return await self._connect()
        except TeamNotRunningError:
            logger.info("no team answers; bringing it up")
        for left in reversed(range(_TRIES)):
            await bring()
            try:
                return await self._connect()
            except TeamNotRunningError:
                if not left:
                    raise
                logger.info("the team was lost as soon as it was there; bringing it up again")
        raise AssertionError

    def _opened(self, opening: asyncio.Task[SupervisorClient]) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if error := opening.exception():
            logger.warning("the team could not be reached: %s", error)
            return
        if self.connected:  # one of its own calls has opened it again meanwhile
            self._background.begin(opening.result().close())
            return
        if self._client is not None:
            self._background.begin(self._client.close_when_idle())
        self._client = opening.result()
        self.on_connected(self._client)
        if self._revive is not None:
            self._background.begin(self._come_back(self._client, self._revive))
        logger.info("connected to the team")

    async def _come_back(self, client: SupervisorClient, revive: Revive) -> None:
        """Waits until the connection is lost, then until it is there again."""

        async def bring_back() -> None:
            if not await revive():
                raise _BroughtDownError("the team was brought down")

        while self._client is client:
            await client.until_lost()
            if not await self._is_back(bring_back):
                return

    async def _is_back(self, bring_back: BringUp) -> bool:
        for pause_s in _PAUSES_S:
            await asyncio.sleep(pause_s)
            if self.connected:
                return True
            try:
                await asyncio.shield(self._attempt(bring_back, asked_for=False))
            except _BroughtDownError:
                return False
            except (PhalanxError, OSError) as error:
                logger.info("the lost team is not back yet: %s", error)
            else:
                return True
        return False
