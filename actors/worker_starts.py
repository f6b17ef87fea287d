"""Frees an actor that Ray lets wait for a worker process that was killed while it started.

For a minute Ray takes such a process for one that is still starting. A task for which Ray has to start another worker
shortens that: the actor, which has waited for longer, gets the worker. ``WorkerStarts`` looks while actors are waited
for. It belongs to the event loop of an actor, whose workers have the same parent.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import psutil

from actors.errors import PhalanxError

logger = logging.getLogger(__name__)

SOON_S = 2.0
"""An actor that comes so soon costs no look."""
STARTING = "workers/default_worker.py"
"""How a word of the command line of a worker ends that has not registered yet; later it has a title."""
_LOOK_S = 0.5
_LOOKS = 5
"""In so many in a row nobody starts when an actor waits in vain, or is just being made in its worker on a slow machine.
Then another worker does no harm: it is idle, and Ray ends it."""


class WorkerStarts:
    def __init__(
        self, start_another: Callable[[], Awaitable[None]], is_one_starting: Callable[[], bool] | None = None
    ) -> None:
        """``start_another`` has Ray start a worker. ``is_one_starting`` blocks for some milliseconds."""
        self._start_another = start_another
        self._is_one_starting = is_one_starting or is_worker_starting
        self._awaited = 0
        self._watching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def awaited(self) -> AsyncIterator[None]:
        """While an actor is waited for whose worker may have to be started."""
        self._awaited += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="starts of workers")
        try:
            yield
        finally:
            self._awaited -= 1
            if not self._awaited and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    async def _watch(self) -> None:
        await asyncio.sleep(SOON_S)
        looks = 0
        while True:
            looks = 0 if await asyncio.to_thread(self._is_one_starting) else looks + 1
            if looks == _LOOKS:
                logger.warning("an actor is waited for and no worker is starting: Ray is made to start another one")
                with suppress(PhalanxError):
                    await self._start_another()
                looks = 0
            await asyncio.sleep(_LOOK_S)


def is_worker_starting() -> bool:
    """Among the children of this process's parent."""
    with suppress(psutil.Error):
        return any(map(_is_starting, psutil.Process(os.getppid()).children()))
    return False


def _is_starting(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(word.endswith(STARTING) for word in process.cmdline())
    return False
