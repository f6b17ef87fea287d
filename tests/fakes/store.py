"""A state store in memory, which fails or waits on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from actors.errors import FencedError, StoreError
from supervisor.store.base import StoreHealth


class MemoryStore:
    """``error`` is raised by every save; a closed ``gate`` keeps saves waiting."""

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        """``records``: those of an earlier supervisor, which the store goes on with."""
        self._records: dict[str, bytes] = {} if records is None else records
        self._epoch = 0
        self.error: Exception | None = None
        self.refuses: str | None = None
        """A save of a key that begins so is refused, as by a full disk."""
        self.writes_all_the_same = False
        """With an ``error``."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.saves = 0
        """Those that succeeded."""
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, subscriber: Callable[[], None]) -> None:
        """``subscriber`` is called after each save that succeeded."""
        self._subscribers.append(subscriber)

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(description="memory")

    async def open(self) -> int:
        self._epoch += 1
        return self._epoch

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.refuses is not None and any(key.startswith(self.refuses) for key in records):
            raise StoreError("no space left")
        if self.error is None or self.writes_all_the_same:
            self._records.update(records)
            for key in delete:
                self._records.pop(key, None)
        if self.error is not None:
            raise self.error
        self.saves += 1
        for subscriber in self._subscribers:
            subscriber()

    async def load(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in sorted(self._records.items()) if key.startswith(prefix)}

    async def close(self) -> None:
        """The records stay, as those of a file do."""

    def fails(self, text: str = "no space left") -> None:
        self.error = StoreError(text)

    def is_fenced(self) -> None:
        self.error = FencedError("another supervisor has the state")
