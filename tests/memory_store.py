"""A state store that lives as long as its process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from supervisor.store.base import StoreHealth


class MemoryStore:
    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._epoch = 0

    @property
    def health(self) -> StoreHealth:
        return StoreHealth(description="memory")

    async def open(self) -> int:
        self._epoch += 1
        return self._epoch

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self._records.update(records)
        for key in delete:
            self._records.pop(key, None)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in sorted(self._records.items()) if key.startswith(prefix)}

    async def close(self) -> None:
        """Everything is lost with the process."""
