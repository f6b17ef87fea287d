"""How a supervisor starts: again until it works, and never an empty team beside living agents.

A start that is made by itself and again until it works.

The supervisor's actor holds one: Ray runs the constructor of a killed actor again and nothing else, so what the actor
is there for must begin in it. Promises: one attempt at a time; whoever waits learns the reason of a failure and begins
the next attempt when none is under way; between failures the pauses grow; what cannot get better by itself is not
tried again unasked.

Whether a home that has no state may begin an empty team: not beside agents that live in it.

Without its records a team does not know its agents; it would take them for nobody's and end them. So whoever lost the
state is told, and nothing is touched. Asked by the store before it goes on with a state that holds nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.backoff import Backoff
from actors.errors import FencedError, PhalanxError, SettingsError, StateLostError, VersionError
from actors.home import Home
from actors.host.host import Host
from supervisor.store.base import MayBegin
from supervisor.team.registry import is_instance_id

logger = logging.getLogger(__name__)

_AGAIN = Backoff(first_s=0.25, longest_s=30.0)
_TRIES = 11
"""Within two minutes. Something else, the host's actor for example, may only be coming back itself."""
_HOPELESS = (FencedError, SettingsError, StateLostError, VersionError)
"""Needs a person, or another supervisor to go away."""


class StartupRetrier:
    """``begin`` and ``done`` belong to one event loop."""

    def __init__(self, start: Callable[[], Awaitable[None]], backoff: Backoff = _AGAIN, tries: int = _TRIES) -> None:
        """``start`` makes one attempt, undoes what it began when it fails, and is bounded in time."""
        self._start = start
        self._backoff = backoff
        self._tries = tries
        self._attempt: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Tries in the background."""
        if self._trying is None:
            self._trying = asyncio.create_task(self._try(), name="own start")

    async def done(self) -> None:
        """Returns when the start has worked. Raises why an attempt failed; the next call makes another."""
        await asyncio.shield(self._current())

    async def close(self) -> None:
        """No attempt is made any more; one under way is cancelled."""
        tasks = [task for task in (self._trying, self._attempt) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _current(self) -> asyncio.Task[None]:
        """The attempt that is under way or has worked; a new one when there is neither."""
        if self._attempt is None or _has_failed(self._attempt):
            self._attempt = asyncio.create_task(self._once(), name="attempt to start")
        return self._attempt

    async def _once(self) -> None:
        await self._start()

    async def _try(self) -> None:
        for number in range(1, self._tries + 1):
            try:
                await asyncio.shield(self._current())
            except _HOPELESS as error:
                logger.error("the start failed and is not tried again unasked: %s", error)  # noqa: TRY400 - in words
                return
            except PhalanxError as error:
                logger.warning("the start failed (attempt %d): %s", number, error)
            except Exception:
                logger.exception("the start failed (attempt %d)", number)
            else:
                return
            await asyncio.sleep(self._backoff.pause_s(number))
        logger.error("the start is not tried again unasked: `phalanx up` does")


def _has_failed(attempt: asyncio.Task[None]) -> bool:
    return attempt.done() and (attempt.cancelled() or attempt.exception() is not None)


_NAMED = 3


def unless_agents_live(home: Home, host: Host) -> MayBegin:
    async def check() -> None:
        """Raises ``StateLostError``."""
        found = await host.agents()
        alive = [agent.session_name for agent in found if agent.alive and is_instance_id(agent.session_name)]
        if alive:
            raise StateLostError(_words(home, alive))

    return check


def _words(home: Home, alive: list[str]) -> str:
    named = ", ".join(alive[:_NAMED]) + (" and others" if len(alive) > _NAMED else "")
    return (
        f"The team's state {home.state_file} is missing or empty, while {len(alive)} of its agents live ({named}). "
        "Nothing was begun beside them and none was touched. Put the file back, with its -wal if there is one, and try "
        "again; or, where the settings name a Redis, bring back what that one has: `phalanx restore --from-redis`. If "
        "it is lost for good: phalanx down ends these agents, keeping their worktrees, and phalanx up then begins a "
        "new team."
    )
