"""A store that lives as long as the supervisor's process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class MemoryStore:
    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}

    @property
    def description(self) -> str:
        return "memory"

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self._records.update(records)
        for key in delete:
            self._records.pop(key, None)

    async def load(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in self._records.items() if key.startswith(prefix)}
