"""Frees an actor that Ray lets wait for a worker process that was killed while it started.

For a minute Ray takes such a process for one that is still starting. A task for which Ray has to start another worker
shortens that: the actor, which has waited for longer, gets the worker. ``WorkerStarts`` watches while actors are waited
for. It belongs to the event loop of an actor, whose workers have the same parent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import psutil

from actors.errors import PhalanxError
from actors.progress import Progress

logger = logging.getLogger(__name__)

SOON_S = 2.0
"""An actor that comes so soon costs no look."""
_LOOK_S = 0.1
_LOOKS = 20
"""Few, because a worker that was not needed does no harm: it is idle, and Ray ends it."""


class WorkerStarts:
    def __init__(
        self,
        start_another: Callable[[], Awaitable[None]],
        young: Callable[[float], Iterable[int]] | None = None,
    ) -> None:
        """``start_another`` has Ray start a worker. ``young``: the workers that began after a time (seconds since the
        epoch), by process id."""
        self._start_another = start_another
        self._young = young or young_workers
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
        since = time.time()
        await asyncio.sleep(SOON_S)
        progress = self._progress(since)
        while True:
            await asyncio.sleep(_LOOK_S)
            if await asyncio.to_thread(progress.hangs):
                logger.warning("Ray brings an actor that is waited for no worker: it is made to start another one")
                with suppress(PhalanxError):
                    await self._start_another()
                progress = self._progress(since)

    def _progress(self, since: float) -> Progress:
        return Progress(lambda: self._young(since), looks=_LOOKS)


def young_workers(since: float) -> list[int]:
    """Of this process's parent: its children that began after ``since``."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(os.getppid()).children():
            with suppress(psutil.Error):
                if child.create_time() >= since:
                    found.append(child.pid)
    return found
