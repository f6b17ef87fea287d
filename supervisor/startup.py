"""How a supervisor starts: with retries, and never with an empty team in place of one whose state is lost.

The supervisor's actor has a ``StartupRetrier``, because Ray runs the constructor of a killed actor again and calls
nothing else. Promises: one attempt at a time. A waiting caller gets the error of a failed attempt, and begins the next
attempt when none is under way. Pauses between failures grow. A permanent error is not retried by itself.

The store calls the check of ``unless_lost`` before it uses a state into which nothing was ever saved. Without its
records a team would take its agents for orphans and end them, so a lost state is reported and nothing is touched. The
agents of other hosts cannot be asked yet, so a mark in the home (``note_in_use``) says that a team has its state here.
Only ``phalanx down`` removes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from actors.backoff import Backoff
from actors.errors import FencedError, PhalanxError, SettingsError, StateLostError, VersionError
from actors.files import write_private
from actors.home import Home
from actors.host.host import Host
from supervisor.store.base import MayBegin
from supervisor.team.registry import is_instance_id

logger = logging.getLogger(__name__)

_RETRY = Backoff(first_s=0.25, longest_s=30.0)
_TRIES = 11
"""Within two minutes: another part, for example the host's actor, may be on its way back."""
_PERMANENT = (FencedError, SettingsError, StateLostError, VersionError)
"""A person has to act, or another supervisor to end."""
_MAX_NAMES = 3


class StartupRetrier:
    """Call ``begin`` and ``done`` in one event loop."""

    def __init__(
        self, start: Callable[[], Coroutine[Any, Any, None]], backoff: Backoff = _RETRY, tries: int = _TRIES
    ) -> None:
        """``start`` makes one attempt, undoes what it began when it fails, and is bounded in time."""
        self._start = start
        self._backoff = backoff
        self._tries = tries
        self._attempt: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Tries in the background. Call it once."""
        self._trying = asyncio.create_task(self._try(), name="own start")

    async def done(self) -> None:
        """Returns when the start has worked. Raises the error of a failed attempt; the next call makes another."""
        await asyncio.shield(self._current())

    def _current(self) -> asyncio.Task[None]:
        """The attempt that is under way or has worked; a new one when there is neither."""
        attempt = self._attempt
        if attempt is None or (attempt.done() and (attempt.cancelled() or attempt.exception() is not None)):
            self._attempt = attempt = asyncio.create_task(self._start(), name="attempt to start")
        return attempt

    async def _try(self) -> None:
        for number in range(1, self._tries + 1):
            try:
                await asyncio.shield(self._current())
            except _PERMANENT as error:
                logger.error("the start failed and is not retried: %s", error)  # noqa: TRY400 - the text says all
                return
            except PhalanxError as error:
                logger.warning("the start failed (attempt %d): %s", number, error)
            except Exception:
                logger.exception("the start failed (attempt %d)", number)
            else:
                return
            await asyncio.sleep(self._backoff.pause_s(number))
        logger.error("the start is not retried any more: `phalanx up` tries again")


def note_in_use(home: Home) -> None:
    """Call it when something was saved: from now on an empty state is a lost one. Raises ``SettingsError``."""
    if not home.in_use_file.exists():
        write_private(home.in_use_file, "")


def unless_lost(home: Home, host: Host) -> MayBegin:
    """A check that raises ``StateLostError`` when the home had a state, or agents live on the host."""

    async def check() -> None:
        found = await host.agents()
        alive = [agent.session_name for agent in found if agent.alive and is_instance_id(agent.session_name)]
        if alive:
            named = ", ".join(alive[:_MAX_NAMES]) + (" and others" if len(alive) > _MAX_NAMES else "")
            raise StateLostError(_state_lost(home.state_file, f"while {len(alive)} of its agents live ({named})"))
        if home.in_use_file.exists():
            raise StateLostError(_state_lost(home.state_file, "and its team was not brought down"))

    return check


def _state_lost(state_file: Path, why: str) -> str:
    return (
        f"The team's state {state_file} is missing or empty, {why}. Nothing was begun and no agent was touched. Put "
        f"{state_file.name} back, with every {state_file.name}-* that was beside it, and try again; or, where the "
        "settings name a Redis, bring back what that one has: `phalanx restore --from-redis`. If it is lost for good: "
        "phalanx down, then phalanx up begins a new team. That ends the agents of the lost one; their worktrees stay."
    )
