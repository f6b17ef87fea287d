"""Spare instance actors: processes that follow nobody yet, because to start one is what costs.

``Spawner`` takes one for each instance, ``Recovery`` tells which ones an earlier supervisor has left. Promises: a spare
is given to one taker only; the pool is refilled one by one in the background, when no caller's spawn waits or runs; a
taker never waits for the pool. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Mapping

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import ChangeNotifier
from actors.errors import FencedError, PhalanxError
from supervisor.ports import InstanceFactory
from supervisor.spawning.admission import FairSemaphore

logger = logging.getLogger(__name__)

PREFIX = "spare_"
"""Names of spare actors begin so; no instance's id does."""
_AGAIN = Backoff(first_s=1.0, longest_s=30.0)
ELSEWHERE_AGAIN_S = 30.0
"""A host of a cluster that does not make one must not keep the others from theirs."""


class ActorPool:
    def __init__(self, factory: InstanceFactory, permits: FairSemaphore, size: int) -> None:
        self._factory = factory
        self._permits = permits
        self._size = size
        self._ready: deque[str] = deque()
        self._found: deque[str] = deque()
        self._making = ""
        self._recognised = False
        self._busy: set[str] = set()
        """Found to follow somebody: none of ours, and the reconciler's to end if nobody knows them."""
        self._failures = 0
        self._changes = ChangeNotifier()
        self._keeping: asyncio.Task[None] | None = None
        self._elsewhere = RetrySchedule[str](Backoff(ELSEWHERE_AGAIN_S, ELSEWHERE_AGAIN_S))
        self.rooms: Callable[[], Mapping[str, int]] = lambda: {"": self._size}
        """Spares for which there is room now, by the address of the host; empty address: this one."""

    @property
    def names(self) -> frozenset[str]:
        """Of all that are the pool's own, also those that are just being made or looked at."""
        return frozenset({*self._ready, *self._found, self._making} - {""})

    @property
    def size(self) -> int:
        """How many are kept."""
        return self._wanted().total()

    @property
    def ready(self) -> int:
        return len(self._ready)

    def take(self, address: str = "") -> str:
        """The name of a spare on the host, from now on the taker's; empty when there is none.

        It may have died: ``InstanceFactory.create`` of its name gives it or another in its place.
        """
        name = next((name for name in self._ready if _address(name) == address), "")
        if name:
            self._ready.remove(name)
            self._changes.announce()
        return name

    def resize(self, size: int) -> None:
        self._size = size
        self._changes.announce()

    def look_again(self) -> None:
        """There may be room for more spares, or for fewer."""
        self._changes.announce()

    def begin(self, confirm: Callable[[], Awaitable[None]]) -> None:
        """Begins to keep the pool, as soon as ``recognise`` was called.

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
        names = self.names | self._busy
        self._found.extend(name for name in sorted(actors) if name.startswith(PREFIX) and name not in names)
        self._recognised = True
        self._changes.announce()

    async def _keep(self, confirm: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._changes.until(self._has_to_do, None)
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
        self._failures += 1
        await asyncio.sleep(_AGAIN.pause_s(self._failures))

    def _has_to_do(self) -> bool:
        return self._recognised and (bool(self._found) or bool(self._surplus()) or self._lacking() is not None)

    def _wanted(self) -> Counter[str]:
        return Counter({address: max(min(self._size, room), 0) for address, room in self.rooms().items()})

    @property
    def there(self) -> Counter[str]:
        """How many are ready, by the address of the host."""
        return Counter(map(_address, self._ready))

    def _surplus(self) -> str:
        """One that is one too many; empty when there is none."""
        many = self.there - self._wanted()
        return next((name for name in self._ready if _address(name) in many), "")

    def _lacking(self) -> str | None:
        """The address of a host that lacks one, this one first; None when there is none that may be tried now."""
        now = time.monotonic()
        few = self._wanted() - self.there
        return min((address for address in few if self._elsewhere.may(address, now)), default=None)

    async def _step(self) -> None:
        if self._found:
            await self._look_at_found()
            return
        if name := self._surplus():
            self._ready.remove(name)
            await self._factory.destroy(name)
            return
        async with self._permits.hold_in_background():
            address = self._lacking()
            if address is not None:
                await self._make(address)

    async def _look_at_found(self) -> None:
        name = self._found[0]
        try:
            if await (await self._factory.create(name)).vacant():
                self._ready.append(name)
            else:
                self._busy.add(name)
        finally:
            self._found.popleft()

    async def _make(self, address: str) -> None:
        name = PREFIX + secrets.token_hex(4) + (f"@{address}" if address else "")
        self._making = name
        try:
            await self._factory.create(name)
            self._ready.append(name)
        except PhalanxError:
            if not address:
                raise
            self._elsewhere.failed(address, time.monotonic())
            logger.warning("no spare actor could be made on %s", address)
            await self._factory.destroy(name)
        finally:
            self._making = ""


def _address(name: str) -> str:
    """Of the host that an actor is on; empty: this one."""
    return name.partition("@")[2]
