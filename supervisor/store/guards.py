"""Stores that refuse to write: for a supervisor that was replaced, over records of another version.

Keeps records that this version cannot read from being overwritten or deleted, whoever would do so.

``PreservingStore`` stands before the store for all that the team and the outbox write. What is new of such a record
lives in memory only, until the version that wrote it takes the state over again.

What a supervisor that was replaced may still do: nothing.

``FencedStore`` stands before the store. When the store says for the first time that another supervisor has taken the
state over, nothing is read or written any more, and ``check`` tells everybody who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from actors.errors import FencedError
from supervisor.metrics.metrics import MetricsRecorder, Timing
from supervisor.records import Unreadable
from supervisor.store.base import StateStore, StoreHealth

logger = logging.getLogger(__name__)


class PreservingStore:
    """A ``StateStore``."""

    def __init__(self, store: StateStore, unreadable: Unreadable) -> None:
        """``unreadable`` may grow while the state is being loaded."""
        self._store = store
        self._unreadable = unreadable
        self._told: set[str] = set()

    @property
    def health(self) -> StoreHealth:
        return self._store.health

    async def open(self) -> int:
        return await self._store.open()

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        kept = self._kept({*records, *delete})
        if kept:
            records = {key: value for key, value in records.items() if key not in kept}
            delete = [key for key in delete if key not in kept]
        await self._store.save(records, delete)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return await self._store.load(prefix)

    async def close(self) -> None:
        await self._store.close()

    def _kept(self, touched: set[str]) -> set[str]:
        kept = touched & self._unreadable.known
        for key in sorted(kept - self._told):
            logger.warning("the record %s is of another version or damaged: it is kept, what is new of it is not", key)
        self._told |= kept
        return kept


_Value = TypeVar("_Value")


class FencedStore:
    """A ``StateStore``. All in the supervisor's event loop."""

    def __init__(self, store: StateStore, recorder: MetricsRecorder | None = None) -> None:
        self._store = store
        self._recorder = recorder or MetricsRecorder()
        self._error: FencedError | None = None

    @property
    def health(self) -> StoreHealth:
        return self._store.health

    def check(self) -> None:
        """Raises ``FencedError`` when another supervisor has the team."""
        if self._error is not None:
            raise FencedError(str(self._error))

    async def open(self) -> int:
        return await self._store.open()

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self.check()
        with self._recorder.timing(Timing.STORE):
            await self._noticing(self._store.save(records, delete))

    async def load(self, prefix: str) -> dict[str, bytes]:
        self.check()
        return await self._noticing(self._store.load(prefix))

    async def close(self) -> None:
        await self._store.close()

    async def _noticing(self, work: Awaitable[_Value]) -> _Value:
        try:
            return await work
        except FencedError as error:
            logger.critical("nothing is done here any more: %s", error)
            self._error = error
            raise
