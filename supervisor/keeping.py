"""Keeps records that this version cannot read from being overwritten or deleted, whoever would do so.

``Keeping`` stands before the store for all that the roll and the mail write. What is new of such a record lives in
memory only, until the version that wrote it takes the state over again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from supervisor.records import Unreadable
from supervisor.store import StateStore, StoreHealth

logger = logging.getLogger(__name__)


class Keeping:
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
