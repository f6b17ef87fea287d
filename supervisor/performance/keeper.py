"""Keeps the history in the store: one small record for five minutes, written half a minute after something happened.

So a team that rests writes nothing, and one that is killed loses at most half a minute of its figures.
"""

from __future__ import annotations

import asyncio
import logging

from actors.errors import FencedError, StoreError
from supervisor.performance.history import COARSE_S, KEPT_S
from supervisor.performance.meters import Meters
from supervisor.records import Unreadable, decode_slot, encode_slot
from supervisor.store import keys
from supervisor.store.base import StateStore

logger = logging.getLogger(__name__)

SAVE_AFTER_S = 30.0


class HistoryKeeper:
    """All in the supervisor's event loop."""

    def __init__(self, meters: Meters, store: StateStore, save_after_s: float = SAVE_AFTER_S) -> None:
        self._meters = meters
        self._store = store
        self._save_after_s = save_after_s
        self._stored: set[float] = set()
        self._since: float | None = None
        """When the first thing happened that is not stored yet; None while all is."""
        self._timer: asyncio.TimerHandle | None = None
        self._saving: asyncio.Task[None] | None = None

    async def begin(self, unreadable: Unreadable) -> None:
        """Takes in what earlier supervisors have stored. Raises ``StoreError``."""
        stored = await self._store.load(keys.PERFORMANCE_PREFIX)
        for _, record in unreadable.readable(stored, decode_slot):
            self._meters.history.restore(record, self._meters.clock())
            self._stored.add(record.start)
        self._meters.settle()
        self._meters.on_change = self._changed

    async def end(self) -> None:
        """Saves, and does so by itself no more."""
        self._meters.on_change = lambda _: None
        if self._saving is not None:
            await self._saving
        if self._timer is not None:
            self._timer.cancel()
        await self.save()

    def _changed(self, at: float) -> None:
        if self._since is None:
            self._save_later()
        self._since = at if self._since is None else min(self._since, at)

    def _save_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._save_after_s, self._begin_saving)

    def _begin_saving(self) -> None:
        self._saving = asyncio.create_task(self._save_or_try_again(), name="save the history")

    async def _save_or_try_again(self) -> None:
        await self.save()
        if self._since is not None:
            self._save_later()

    async def save(self) -> None:
        """Stores what has not been stored yet; a store in trouble leaves it for the next time."""
        since, now = self._since, self._meters.clock()
        if since is None:
            return
        records = [self._meters.history.record(start) for start in _starts(since, now)]
        records = [record for record in records if record.counts or record.timings]
        forgotten = {start for start in self._stored if start < now - KEPT_S}
        try:
            await self._store.save(
                {keys.performance(record.start): encode_slot(record) for record in records},
                delete=[keys.performance(start) for start in forgotten],
            )
        except FencedError:
            self._since = None  # it is another supervisor's now, and nothing is ever stored here again
            return
        except StoreError as error:
            logger.warning("the history is stored later: %s", error)
            return
        self._stored = (self._stored - forgotten) | {record.start for record in records}
        # Not before: writing is itself observed, and would go on for ever.
        self._since = None
        self._meters.settle()


def _starts(since: float, now: float) -> list[int]:
    """Of the records between; they are many only when the store has been in trouble for long."""
    first, last = (int(at // COARSE_S) for at in (since, now))
    oldest = int((now - KEPT_S) // COARSE_S)
    return [number * COARSE_S for number in sorted({first, last, *range(max(first, oldest), last)})]
