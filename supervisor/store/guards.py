"""Stores that refuse some writes; ``Team`` and ``build`` put them before the team's store.

``PreservingStore`` keeps records that this version cannot read from being overwritten or deleted. New values of such a
record live in memory only, until the version that wrote it has the state again.

``FencedStore`` reads and writes nothing any more once the store has said that another supervisor has taken the state
over. ``check`` raises then. All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from actors.errors import FencedError
from supervisor.metrics.metrics import MetricsRecorder, Timing
from supervisor.records import Unreadable
from supervisor.store.base import StateStore, StoreHealth

logger = logging.getLogger(__name__)


class _StoreOver:
    """Passes all on to the store below."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    @property
    def health(self) -> StoreHealth:
        return self._store.health

    async def open(self) -> int:
        return await self._store.open()

    async def load(self, prefix: str) -> dict[str, bytes]:
        return await self._store.load(prefix)

    async def close(self) -> None:
        await self._store.close()


class PreservingStore(_StoreOver):
    """A ``StateStore``."""

    def __init__(self, store: StateStore, unreadable: Unreadable) -> None:
        """``unreadable`` may grow while the state is being loaded."""
        super().__init__(store)
        self._unreadable = unreadable
        self._told: set[str] = set()

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        kept = {*records, *delete} & self._unreadable.known
        for key in sorted(kept - self._told):
            logger.warning("the record %s is of another version or damaged: it is kept, and its new value is not", key)
        self._told |= kept
        if kept:
            records = {key: value for key, value in records.items() if key not in kept}
            delete = [key for key in delete if key not in kept]
        await self._store.save(records, delete)


class FencedStore(_StoreOver):
    """A ``StateStore``."""

    def __init__(self, store: StateStore, recorder: MetricsRecorder | None = None) -> None:
        super().__init__(store)
        self._recorder = recorder or MetricsRecorder()
        self._error: FencedError | None = None

    def check(self) -> None:
        """Raises ``FencedError`` when another supervisor has the team."""
        if self._error is not None:
            raise FencedError(str(self._error))

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        with self._fencing(), self._recorder.timing(Timing.STORE):
            await self._store.save(records, delete)

    async def load(self, prefix: str) -> dict[str, bytes]:
        with self._fencing():
            return await self._store.load(prefix)

    @contextmanager
    def _fencing(self) -> Iterator[None]:
        self.check()
        try:
            yield
        except FencedError as error:
            logger.critical("nothing is done here any more: %s", error)
            self._error = error
            raise
