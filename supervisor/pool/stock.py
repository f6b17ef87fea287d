"""Spare instance actors: processes that follow nobody yet, because to start one is what costs.

``Spawner`` takes one for each instance, ``Recovery`` tells which ones an earlier supervisor has left. Promises: a spare
is given to one taker only; the stock is refilled one by one in the background, when no caller's spawn waits or runs; a
taker never waits for the stock. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection

from actors.errors import FencedError, PhalanxError
from actors.news import News
from supervisor.permits import Permits
from supervisor.ports import InstanceFactory

logger = logging.getLogger(__name__)

PREFIX = "spare_"
"""Names of spare actors begin so; no instance's id does."""
_PAUSES_S = (1.0, 5.0, 30.0)


class ActorStock:
    def __init__(self, factory: InstanceFactory, permits: Permits, size: int) -> None:
        self._factory = factory
        self._permits = permits
        self._size = size
        self._ready: deque[str] = deque()
        self._found: deque[str] = deque()
        self._making = ""
        self._recognised = False
        self._failures = 0
        self._news = News()
        self._keeping: asyncio.Task[None] | None = None
        self.most: Callable[[], int] = lambda: self._size
        """Spares for which there is room now."""

    @property
    def names(self) -> frozenset[str]:
        """Of all that are the stock's own, also those that are just being made or looked at."""
        return frozenset({*self._ready, *self._found, self._making} - {""})

    @property
    def size(self) -> int:
        """How many are kept."""
        return self._size

    @property
    def ready(self) -> int:
        return len(self._ready)

    def take(self) -> str:
        """The name of a spare, from now on the taker's; empty when there is none.

        It may have died: ``InstanceFactory.create`` of its name gives it or another in its place.
        """
        if not self._ready:
            return ""
        name = self._ready.popleft()
        self._news.announce()
        return name

    def resize(self, size: int) -> None:
        self._size = size
        self._news.announce()

    def look_again(self) -> None:
        """There may be room for more spares, or for fewer."""
        self._news.announce()

    def begin(self, confirm: Callable[[], Awaitable[None]]) -> None:
        """Begins to keep the stock, as soon as ``recognise`` was called.

        ``confirm`` raises ``FencedError`` when another supervisor has the team.
        """
        self._keeping = asyncio.create_task(self._keep(confirm), name="keep spare actors")

    async def end(self) -> None:
        """The spares stay; the next supervisor recognises them."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    def recognise(self, actors: Collection[str]) -> None:
        """Takes in the spares among ``actors``, which belong to no instance. Who follows somebody is let go again."""
        names = self.names
        self._found.extend(name for name in sorted(actors) if name.startswith(PREFIX) and name not in names)
        self._recognised = True
        self._news.announce()

    async def _keep(self, confirm: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._news.until(self._has_to_do, None)
            try:
                await confirm()
                await self._step()
            except FencedError:
                logger.warning("no more spare actors: another supervisor has the state")
                return
            except PhalanxError as error:
                logger.warning("the spare actors could not be kept: %s", error)
                await self._pause()
            except Exception:
                # Ray raises errors of its own kind; none of them may end the keeping for good.
                logger.exception("the spare actors could not be kept")
                await self._pause()
            else:
                self._failures = 0

    async def _pause(self) -> None:
        await asyncio.sleep(_PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)])
        self._failures += 1

    def _has_to_do(self) -> bool:
        return self._recognised and (bool(self._found) or len(self._ready) != self._now)

    @property
    def _now(self) -> int:
        return max(min(self._size, self.most()), 0)

    async def _step(self) -> None:
        if self._found:
            await self._look_at_found()
            return
        if len(self._ready) > self._now:
            await self._factory.destroy(self._ready.pop())
            return
        async with self._permits.hold_in_background():
            if len(self._ready) < self._now:
                await self._make()

    async def _look_at_found(self) -> None:
        name = self._found[0]
        try:
            if await (await self._factory.create(name)).vacant():
                self._ready.append(name)
        finally:
            self._found.popleft()

    async def _make(self) -> None:
        name = PREFIX + secrets.token_hex(4)
        self._making = name
        try:
            await self._factory.create(name)
            self._ready.append(name)
        finally:
            self._making = ""
